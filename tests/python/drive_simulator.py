"""boto3 drives the operations of pipelines and of STS: drive_simulator.py ENDPOINT

Each test has pipelines and a region of its own, so that they do not see each other's executions or quotas.
"""

import json
import re
import time
import unittest
import urllib.error
import uuid
from datetime import datetime

import boto3
from botocore.exceptions import ClientError, ConnectionClosedError

from simulator_case import ENDPOINT, SimulatorCase, client, faults, step


class Simulator(SimulatorCase):
    def test_a_pipeline_is_created_described_listed_and_deleted(self):
        declared = [{"Name": "Size", "Type": "Integer", "DefaultValue": 1}]
        name = self.pipeline(step("Train"), parameters=declared)
        found = self.sagemaker.describe_pipeline(PipelineName=name)
        self.assertEqual(found["PipelineName"], name)
        self.assertEqual(found["PipelineStatus"], "Active")
        self.assertEqual(json.loads(found["PipelineDefinition"])["Parameters"], declared)
        self.assertIsInstance(found["CreationTime"], datetime)
        self.assertIsInstance(found["LastModifiedTime"], datetime)
        by_arn = self.sagemaker.describe_pipeline(PipelineName=found["PipelineArn"])
        self.assertEqual(by_arn["PipelineName"], name)

        pages = self.sagemaker.get_paginator("list_pipelines").paginate()
        self.assertIn(name, [p["PipelineName"] for page in pages for p in page["PipelineSummaries"]])
        deleted = self.sagemaker.delete_pipeline(PipelineName=name, ClientRequestToken=uuid.uuid4().hex)
        self.assertEqual(deleted["PipelineArn"], found["PipelineArn"])
        with self.assertRaises(self.errors.ResourceNotFound):
            self.sagemaker.describe_pipeline(PipelineName=name)

    def test_an_execution_runs_its_steps_to_the_end(self):
        name = self.pipeline(step("Prepare", "Processing"), step("Train", after=["Prepare"]))
        arn = self.start(name, PipelineExecutionDisplayName="once", PipelineExecutionDescription="for all")
        self.assertRegex(arn, r"^arn:aws:sagemaker:us-west-2:\d{12}:pipeline/.+/execution/[a-z0-9]{12}$")
        found = self.describe(arn)
        self.assertEqual(found["PipelineExecutionArn"], arn)
        self.assertEqual(found["PipelineExecutionStatus"], "Executing")
        self.assertEqual(found["PipelineExecutionDisplayName"], "once")
        self.assertEqual(found["PipelineExecutionDescription"], "for all")
        self.assertIsInstance(found["CreationTime"], datetime)
        self.until(arn, "Succeeded")
        by_name = {s["StepName"]: s for s in self.steps(arn)}
        self.assertEqual(set(by_name), {"Prepare", "Train"})
        self.assertEqual({s["StepStatus"] for s in by_name.values()}, {"Succeeded"})
        self.assertLessEqual(by_name["Prepare"]["EndTime"], by_name["Train"]["StartTime"])
        self.assertIn(":processing-job/", by_name["Prepare"]["Metadata"]["ProcessingJob"]["Arn"])
        self.assertIn(":training-job/", by_name["Train"]["Metadata"]["TrainingJob"]["Arn"])

    def test_a_retry_revives_a_failed_execution(self):
        unlucky = f"Step-{uuid.uuid4().hex[:8]}"
        faults(steps={unlucky: {"fail": 1, "reason": "ClientError: no such image"}})
        arn = self.start(self.pipeline(step("First"), step(unlucky, after=["First"])))
        retry = {"PipelineExecutionArn": arn, "ClientRequestToken": uuid.uuid4().hex}
        self.assertIn(
            self.code(self.sagemaker.retry_pipeline_execution, **retry), ("ConflictException", "ValidationException")
        )
        self.until(arn, "Failed")
        failed = {s["StepName"]: s for s in self.steps(arn)}[unlucky]
        self.assertEqual((failed["StepStatus"], failed["FailureReason"]), ("Failed", "ClientError: no such image"))
        self.assertEqual(self.sagemaker.retry_pipeline_execution(**retry)["PipelineExecutionArn"], arn)
        self.assertEqual(self.describe(arn)["PipelineExecutionStatus"], "Executing")
        self.until(arn, "Succeeded")
        self.assertEqual({s["StepName"]: s for s in self.steps(arn)}[unlucky]["AttemptCount"], 2)

    def test_a_callback_step_waits_and_blocks_the_stop(self):
        arn = self.start(self.pipeline(step("Ask", "Callback"), step("Then", after=["Ask"])))
        token = self.steps(arn)[0]["Metadata"]["Callback"]["CallbackToken"]
        self.sagemaker.send_pipeline_execution_step_success(
            CallbackToken=token, OutputParameters=[{"Name": "answer", "Value": "yes"}]
        )
        self.until(arn, "Succeeded")
        asked = {s["StepName"]: s for s in self.steps(arn)}["Ask"]
        self.assertEqual(asked["Metadata"]["Callback"]["OutputParameters"], [{"Name": "answer", "Value": "yes"}])

        arn = self.start(self.pipeline(step("Ask", "Callback")))
        token = self.steps(arn)[0]["Metadata"]["Callback"]["CallbackToken"]
        self.sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken=uuid.uuid4().hex)
        time.sleep(0.5)
        self.assertEqual(self.describe(arn)["PipelineExecutionStatus"], "Stopping")
        self.sagemaker.send_pipeline_execution_step_failure(CallbackToken=token, FailureReason="stopping")
        self.until(arn, "Stopped")

    def test_an_execution_knows_its_definition_and_parameters(self):
        declared = [
            {"Name": "Size", "Type": "Integer", "DefaultValue": 1},
            {"Name": "Data", "Type": "String"},
        ]
        name = self.pipeline(parameters=declared)
        arn = self.start(name, PipelineParameters=[{"Name": "Data", "Value": "s3://bucket/key"}])
        changed = json.dumps({"Version": "2020-12-01", "Parameters": [], "Steps": [step("Other")]})
        self.sagemaker.update_pipeline(PipelineName=name, PipelineDefinition=changed)
        now = json.loads(self.sagemaker.describe_pipeline(PipelineName=name)["PipelineDefinition"])
        self.assertEqual([s["Name"] for s in now["Steps"]], ["Other"])
        then = self.sagemaker.describe_pipeline_definition_for_execution(PipelineExecutionArn=arn)
        self.assertEqual(json.loads(then["PipelineDefinition"])["Parameters"], declared)
        pages = self.sagemaker.get_paginator("list_pipeline_parameters_for_execution").paginate(
            PipelineExecutionArn=arn
        )
        found = {p["Name"]: p["Value"] for page in pages for p in page["PipelineParameters"]}
        self.assertEqual(found, {"Size": "1", "Data": "s3://bucket/key"})
        self.sagemaker.update_pipeline_execution(PipelineExecutionArn=arn, PipelineExecutionDescription="renamed")
        self.assertEqual(self.describe(arn)["PipelineExecutionDescription"], "renamed")

    def test_a_failed_step_fails_the_execution(self):
        name = self.pipeline(step("Check", "Fail", Arguments={"ErrorMessage": "the data is stale"}))
        arn = self.start(name)
        found = self.until(arn, "Failed")
        self.assertIn("Step failure", found["FailureReason"])
        (only,) = self.steps(arn)
        self.assertEqual(only["StepStatus"], "Failed")
        self.assertIn("the data is stale", only["Metadata"]["Fail"]["ErrorMessage"])

    def test_a_started_execution_is_stopped_once(self):
        arn = self.start(self.pipeline(step("Wait", "Training"), step("Then", after=["Wait"])))
        stop = {"PipelineExecutionArn": arn, "ClientRequestToken": uuid.uuid4().hex}
        self.assertEqual(self.sagemaker.stop_pipeline_execution(**stop)["PipelineExecutionArn"], arn)
        self.assertIn(self.describe(arn)["PipelineExecutionStatus"], ("Stopping", "Stopped"))
        self.until(arn, "Stopped")
        stop["ClientRequestToken"] = uuid.uuid4().hex
        self.assertEqual(self.code(self.sagemaker.stop_pipeline_execution, **stop), "ValidationException")

    def test_a_token_starts_one_execution(self):
        name = self.pipeline()
        token = uuid.uuid4().hex
        first = self.start(name, ClientRequestToken=token)
        self.assertEqual(self.start(name, ClientRequestToken=token), first)
        self.assertNotEqual(self.start(name), first)
        listed = self.sagemaker.list_pipeline_executions(PipelineName=name)["PipelineExecutionSummaries"]
        self.assertEqual(len(listed), 2)

    def test_more_executions_than_a_page_are_listed_page_by_page(self):
        name = self.pipeline()
        arns = [self.start(name) for _ in range(130)]
        pages = list(
            self.sagemaker.get_paginator("list_pipeline_executions").paginate(
                PipelineName=name, SortBy="CreationTime", SortOrder="Descending"
            )
        )
        self.assertEqual([len(page["PipelineExecutionSummaries"]) for page in pages], [100, 30])
        listed = [s for page in pages for s in page["PipelineExecutionSummaries"]]
        self.assertEqual([s["PipelineExecutionArn"] for s in listed], list(reversed(arns)))
        times = [s["StartTime"] for s in listed]
        self.assertEqual(times, sorted(times, reverse=True))
        ten = self.sagemaker.list_pipeline_executions(PipelineName=name, MaxResults=10, SortOrder="Ascending")
        self.assertEqual([s["PipelineExecutionArn"] for s in ten["PipelineExecutionSummaries"]], arns[:10])
        later = self.sagemaker.list_pipeline_executions(PipelineName=name, CreatedAfter=datetime(2100, 1, 1))
        self.assertEqual(later["PipelineExecutionSummaries"], [])

    def test_many_steps_are_listed_page_by_page(self):
        names = [f"Step-{i:03}" for i in range(130)]
        arn = self.start(self.pipeline(*(step(n) for n in names)))
        self.until(arn, "Succeeded")
        self.assertEqual(sorted(s["StepName"] for s in self.steps(arn)), names)
        page = self.sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn, MaxResults=7)
        self.assertEqual(len(page["PipelineExecutionSteps"]), 7)
        self.assertTrue(page["NextToken"])

    def test_the_quota_of_concurrent_executions_holds(self):
        self.sagemaker = client(region="eu-west-1")
        name = self.pipeline()
        faults(quota=3, step_seconds=3600)
        arns = [self.start(name) for _ in range(3)]
        with self.assertRaises(self.sagemaker.exceptions.ResourceLimitExceeded):
            self.start(name)
        self.sagemaker.stop_pipeline_execution(PipelineExecutionArn=arns[0], ClientRequestToken=uuid.uuid4().hex)
        self.until(arns[0], "Stopped")
        self.start(name)

    def test_a_pipeline_with_running_executions_is_not_deleted(self):
        name = self.pipeline()
        self.start(name)
        with self.assertRaises(self.errors.ConflictException):
            self.sagemaker.delete_pipeline(PipelineName=name, ClientRequestToken=uuid.uuid4().hex)

    def test_what_is_not_there_is_not_found(self):
        arn = "arn:aws:sagemaker:us-west-2:100000000002:pipeline/none/execution/abcdefabcdef"
        token = uuid.uuid4().hex
        for call, arguments in (
            ("describe_pipeline", {"PipelineName": "none"}),
            ("start_pipeline_execution", {"PipelineName": "none", "ClientRequestToken": token}),
            ("list_pipeline_executions", {"PipelineName": "none"}),
            ("delete_pipeline", {"PipelineName": "none", "ClientRequestToken": token}),
            ("describe_pipeline_execution", {"PipelineExecutionArn": arn}),
            ("list_pipeline_execution_steps", {"PipelineExecutionArn": arn}),
            ("stop_pipeline_execution", {"PipelineExecutionArn": arn, "ClientRequestToken": token}),
            ("retry_pipeline_execution", {"PipelineExecutionArn": arn, "ClientRequestToken": token}),
        ):
            with self.subTest(call), self.assertRaises(self.errors.ResourceNotFound):
                getattr(self.sagemaker, call)(**arguments)

    def test_arguments_that_do_not_fit_are_refused(self):
        name = self.pipeline(parameters=[{"Name": "Data", "Type": "String"}])
        for parameters in (
            [],
            [{"Name": "Data", "Value": ""}],
            [{"Name": "Data", "Value": "d"}, {"Name": "Other", "Value": "o"}],
        ):
            with self.subTest(parameters):
                code = self.code(
                    self.sagemaker.start_pipeline_execution,
                    PipelineName=name,
                    PipelineParameters=parameters,
                    ClientRequestToken=uuid.uuid4().hex,
                )
                self.assertEqual(code, "ValidationException")
        self.start(name, PipelineParameters=[{"Name": "Data", "Value": "d"}])

    def test_a_fault_is_raised_as_boto3s_own_error(self):
        name = self.pipeline()
        for fault, code in (("throttle", "ThrottlingException"), ("deny", "AccessDeniedException")):
            faults(**{fault: {"DescribePipeline": 1}})
            self.assertEqual(self.code(self.sagemaker.describe_pipeline, PipelineName=name), code)
            self.sagemaker.describe_pipeline(PipelineName=name)
        faults(errors={"*": {"code": "ExpiredTokenException", "message": "The security token is expired", "times": 1}})
        self.assertEqual(self.code(self.sagemaker.describe_pipeline, PipelineName=name), "ExpiredTokenException")
        faults(server_error={"DescribePipeline": 1})
        with self.assertRaises(ClientError) as caught:
            self.sagemaker.describe_pipeline(PipelineName=name)
        self.assertEqual(caught.exception.response["ResponseMetadata"]["HTTPStatusCode"], 500)
        faults(lose_reply={"StartPipelineExecution": 1})
        with self.assertRaises(ConnectionClosedError):
            self.start(name)
        listed = self.sagemaker.list_pipeline_executions(PipelineName=name)["PipelineExecutionSummaries"]
        self.assertEqual(len(listed), 1, "the effect is there although the reply was lost")
        with self.assertRaises(urllib.error.HTTPError) as refused:
            faults(throttle={"DescribePipelin": 1})
        self.assertIn("DescribePipeline", refused.exception.read().decode())

    def test_sts_says_who_asks_and_hands_out_roles(self):
        sts = client("sts")
        caller = sts.get_caller_identity()
        self.assertRegex(caller["Account"], r"^\d{12}$")
        self.assertIn(caller["Account"], caller["Arn"])
        role = "arn:aws:iam::111122223333:role/other"
        taken = sts.assume_role(RoleArn=role, RoleSessionName="session")
        self.assertTrue(re.match(r"arn:aws:sts::111122223333:assumed-role/other/session", taken["AssumedRoleUser"]["Arn"]))
        self.assertIsInstance(taken["Credentials"]["Expiration"], datetime)
        web = sts.assume_role_with_web_identity(RoleArn=role, RoleSessionName="session", WebIdentityToken="a.b.c")
        for credentials in (taken["Credentials"], web["Credentials"]):
            there = boto3.client(
                "sts",
                endpoint_url=ENDPOINT,
                region_name="us-west-2",
                aws_access_key_id=credentials["AccessKeyId"],
                aws_secret_access_key=credentials["SecretAccessKey"],
                aws_session_token=credentials["SessionToken"],
            )
            self.assertEqual(there.get_caller_identity()["Account"], "111122223333")


if __name__ == "__main__":
    unittest.main(verbosity=2)
