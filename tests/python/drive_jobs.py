"""boto3 drives what comes after a failure: retries, the jobs of steps, their logs: drive_jobs.py ENDPOINT DEFINITION

DEFINITION is the file that sdk_definition.py wrote.
"""

import json
import sys
import time
import unittest
import uuid
from datetime import datetime

from simulator_case import ROLE, SimulatorCase, client, faults, step

with open(sys.argv.pop(1), encoding="utf-8") as file:
    DEFINITION = file.read()

OUTPUT = {"OutputDataConfig": {"S3OutputPath": "s3://models"}}


def name_of(arn):
    return arn.rsplit("/", 1)[1]


class Jobs(SimulatorCase):
    def setUp(self):
        super().setUp()
        self.logs = client("logs")

    def job(self, arn, name):
        """The name of a step's job."""
        (found,) = [s for s in self.steps(arn) if s["StepName"] == name]
        (metadata,) = found["Metadata"].values()
        return name_of(metadata["Arn"])

    def failed(self, **script):
        """An execution whose second step failed, and that step's name."""
        unlucky = f"Train-{uuid.uuid4().hex[:8]}"
        faults(steps={unlucky: {"fail": 1, **script}})
        arn = self.start(self.pipeline(step("First"), step(unlucky, after=["First"], Arguments=OUTPUT)))
        self.until(arn, "Failed")
        return arn, unlucky

    def test_a_retry_runs_only_what_failed_and_under_a_token_only_once(self):
        arn, unlucky = self.failed()
        before = {s["StepName"]: s for s in self.steps(arn)}
        retry = {"PipelineExecutionArn": arn, "ClientRequestToken": uuid.uuid4().hex}
        faults(step_seconds=0.5)
        self.assertEqual(self.sagemaker.retry_pipeline_execution(**retry)["PipelineExecutionArn"], arn)
        self.assertEqual(self.sagemaker.retry_pipeline_execution(**retry)["PipelineExecutionArn"], arn)
        other = {**retry, "ClientRequestToken": uuid.uuid4().hex}
        self.assertEqual(self.code(self.sagemaker.retry_pipeline_execution, **other), "ValidationException")
        found = self.until(arn, "Succeeded")
        self.assertNotIn("FailureReason", found)
        after = {s["StepName"]: s for s in self.steps(arn)}
        self.assertEqual(after["First"], before["First"])
        self.assertEqual((after["First"]["AttemptCount"], after[unlucky]["AttemptCount"]), (1, 2))
        self.assertNotEqual(after[unlucky]["Metadata"], before[unlucky]["Metadata"])
        self.assertEqual(self.code(self.sagemaker.retry_pipeline_execution, **other), "ValidationException")
        self.assertEqual(self.sagemaker.retry_pipeline_execution(**retry)["PipelineExecutionArn"], arn)
        self.assertEqual(self.describe(arn)["PipelineExecutionStatus"], "Succeeded", "that token was used up")

    def test_a_stopped_execution_is_retried_within_the_quota(self):
        self.sagemaker = client(region="eu-central-1")
        faults(quota=1, step_seconds=3600)
        name = self.pipeline()
        arn = self.start(name)
        stop = {"PipelineExecutionArn": arn, "ClientRequestToken": uuid.uuid4().hex}
        self.sagemaker.stop_pipeline_execution(**stop)
        self.until(arn, "Stopped")
        other = self.start(name)
        retry = {"PipelineExecutionArn": arn, "ClientRequestToken": uuid.uuid4().hex}
        with self.assertRaises(self.sagemaker.exceptions.ResourceLimitExceeded):
            self.sagemaker.retry_pipeline_execution(**retry)
        self.sagemaker.stop_pipeline_execution(PipelineExecutionArn=other, ClientRequestToken=uuid.uuid4().hex)
        self.until(other, "Stopped")
        self.sagemaker.retry_pipeline_execution(**retry)
        self.assertEqual(self.describe(arn)["PipelineExecutionStatus"], "Executing")
        (only,) = self.steps(arn)
        self.assertEqual((only["StepStatus"], only["AttemptCount"]), ("Executing", 2))

    def test_a_failed_training_job_and_its_log_tell_what_happened(self):
        arn, unlucky = self.failed(reason="AlgorithmError: ExecuteUserScriptError: ExitCode 1")
        job = self.sagemaker.describe_training_job(TrainingJobName=self.job(arn, unlucky))
        self.assertEqual(job["TrainingJobStatus"], "Failed")
        self.assertEqual(job["FailureReason"], "AlgorithmError: ExecuteUserScriptError: ExitCode 1")
        self.assertIsInstance(job["TrainingEndTime"], datetime)
        group, prefix = "/aws/sagemaker/TrainingJobs", job["TrainingJobName"] + "/"
        (stream,) = self.logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=prefix)["logStreams"]
        self.assertRegex(stream["logStreamName"], r"/algo-1-\d{10}$")
        read = {"logGroupName": group, "logStreamName": stream["logStreamName"]}
        lines = [event["message"] for event in self.logs.get_log_events(**read)["events"]]
        self.assertIn("Traceback (most recent call last):", lines)
        self.assertTrue([line for line in lines if line.startswith("ValueError: ")], lines)
        tail = self.logs.get_log_events(**read, limit=2)
        self.assertEqual([event["message"] for event in tail["events"]], lines[-2:])
        before = self.logs.get_log_events(**read, limit=2, nextToken=tail["nextBackwardToken"])
        self.assertEqual([event["message"] for event in before["events"]], lines[-4:-2])

        self.sagemaker.retry_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken=uuid.uuid4().hex)
        self.until(arn, "Succeeded")
        again = self.sagemaker.describe_training_job(TrainingJobName=self.job(arn, unlucky))
        self.assertEqual(again["TrainingJobStatus"], "Completed")
        self.assertNotEqual(again["TrainingJobName"], job["TrainingJobName"])

    def test_every_type_of_job_is_described_with_what_it_made(self):
        faults(steps={"Train": {"metrics": {"auc": 0.91}}, "Tune": {"metrics": {"auc": 0.8}}})
        processed = [{"OutputName": "train", "S3Output": {"S3Uri": "s3://data", "LocalPath": "/x", "S3UploadMode": "EndOfJob"}}]
        arn = self.start(
            self.pipeline(
                step("Train", Arguments=OUTPUT),
                step("Prepare", "Processing", Arguments={"ProcessingOutputConfig": {"Outputs": processed}}),
                step("Score", "Transform", Arguments={"TransformOutput": {"S3OutputPath": "s3://scores"}}),
                step("Tune", "Tuning", Arguments={"TrainingJobDefinition": OUTPUT}),
                step("Auto", "AutoML", Arguments=OUTPUT),
            )
        )
        self.until(arn, "Succeeded")
        sm = self.sagemaker
        job = sm.describe_training_job(TrainingJobName=self.job(arn, "Train"))
        artifacts = f"s3://models/{job['TrainingJobName']}/output/model.tar.gz"
        self.assertEqual(job["ModelArtifacts"]["S3ModelArtifacts"], artifacts)
        self.assertEqual([(m["MetricName"], round(m["Value"], 2)) for m in job["FinalMetricDataList"]], [("auc", 0.91)])
        self.assertGreaterEqual(job["BillableTimeInSeconds"], 1)
        job = sm.describe_processing_job(ProcessingJobName=self.job(arn, "Prepare"))
        self.assertEqual(job["ProcessingOutputConfig"]["Outputs"], processed)
        self.assertLessEqual(job["ProcessingStartTime"], job["ProcessingEndTime"])
        job = sm.describe_transform_job(TransformJobName=self.job(arn, "Score"))
        self.assertEqual((job["TransformJobStatus"], job["TransformOutput"]["S3OutputPath"]), ("Completed", "s3://scores"))
        job = sm.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=self.job(arn, "Tune"))
        best = sm.describe_training_job(TrainingJobName=job["BestTrainingJob"]["TrainingJobName"])
        self.assertEqual(best["TuningJobArn"], job["HyperParameterTuningJobArn"])
        job = sm.describe_auto_ml_job(AutoMLJobName=self.job(arn, "Auto"))
        self.assertEqual(job["AutoMLJobStatus"], "Completed")
        self.assertTrue(job["BestCandidate"]["InferenceContainers"][0]["ModelDataUrl"].startswith("s3://models/"))
        same = sm.describe_auto_ml_job_v2(AutoMLJobName=job["AutoMLJobName"])
        self.assertEqual(same["AutoMLJobArn"], job["AutoMLJobArn"])

    def test_what_is_denied_or_not_there_is_refused(self):
        name = "pipelines-aaaaaaaaaaaa-none-aaaaaaaaaa"
        self.assertEqual(self.code(self.sagemaker.describe_training_job, TrainingJobName=name), "ValidationException")
        arn = self.start(self.pipeline())
        self.until(arn, "Succeeded")
        read = {"logGroupName": "/aws/sagemaker/TrainingJobs", "logStreamName": name}
        with self.assertRaises(self.logs.exceptions.ResourceNotFoundException):
            self.logs.get_log_events(**read)
        job = self.job(arn, "Train")
        faults(deny={"DescribeTrainingJob": 1, "GetLogEvents": 1, "DescribeLogStreams": 1})
        for call, arguments in (
            (self.sagemaker.describe_training_job, {"TrainingJobName": job}),
            (self.logs.get_log_events, read),
            (self.logs.describe_log_streams, {"logGroupName": "/aws/sagemaker/TrainingJobs"}),
        ):
            self.assertEqual(self.code(call, **arguments), "AccessDeniedException")
        self.sagemaker.describe_training_job(TrainingJobName=job)

    def test_a_pipeline_of_the_sagemaker_sdk_takes_the_branch_of_its_parameters(self):
        name = f"P-{uuid.uuid4().hex}"
        token = uuid.uuid4().hex
        self.sagemaker.create_pipeline(
            PipelineName=name, PipelineDefinition=DEFINITION, ClientRequestToken=token, RoleArn=ROLE
        )
        report = {"binary_classification_metrics": {"auc": {"value": 0.3}}, "drift": [{"p-value": 0.02}]}
        scripts = {"EvaluateModel": {"property_files": {"Report": report}}, "TellPeople": {"outputs": {"verdict": "poor", "votes": "1"}}}
        faults(steps={f"{name}/{key}": script for key, script in scripts.items()})
        arn = self.start(name)
        self.until(arn, "Failed")
        (failed,) = [s for s in self.steps(arn) if s["StepStatus"] == "Failed"]
        self.assertEqual((failed["StepName"], failed["FailureReason"]), ("TooBad", "auc 0.3 is below 0.4"))

        arn = self.start(name, PipelineParameters=[{"Name": "Threshold", "Value": "0.3"}, {"Name": "Stage", "Value": "live"}])
        for _ in range(100):
            asked = [s for s in self.steps(arn) if s["StepName"] == "AskForApproval"]
            if asked:
                break
            time.sleep(0.05)
        self.sagemaker.send_pipeline_execution_step_success(
            CallbackToken=asked[0]["Metadata"]["Callback"]["CallbackToken"],
            OutputParameters=[{"Name": "approved", "Value": "true"}],
        )
        self.until(arn, "Failed")
        (failed,) = [s for s in self.steps(arn) if s["StepStatus"] == "Failed"]
        self.assertEqual(failed["FailureReason"], "rejected on stage live with auc 0.3")
        evaluated = self.sagemaker.describe_processing_job(ProcessingJobName=self.job(arn, "PrepareData"))
        outputs = {o["OutputName"]: o["S3Output"]["S3Uri"] for o in evaluated["ProcessingOutputConfig"]["Outputs"]}
        self.assertEqual(outputs["test"], f"s3://models/live/{name_of(arn)}")


if __name__ == "__main__":
    unittest.main(verbosity=2)
