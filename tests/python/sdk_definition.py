"""A pipeline written with the SageMaker Python SDK: sdk_definition.py FILE

It asks nothing of AWS. The recorded definition is what the simulator's tests run, so that they need no SDK (300 MB); make it
anew, with the packages of sdk-requirements.txt, when this file changes:

    python3 -m venv venv && venv/bin/pip install -r sdk-requirements.txt
    venv/bin/python sdk_definition.py ../it/simulator/sdk/definition.json
"""

import json
import sys

import boto3
from sagemaker.inputs import TrainingInput
from sagemaker.estimator import Estimator
from sagemaker.lambda_helper import Lambda
from sagemaker.model import Model
from sagemaker.processing import ProcessingInput, ProcessingOutput, Processor
from sagemaker.transformer import Transformer
from sagemaker.tuner import ContinuousParameter, HyperparameterTuner
from sagemaker.workflow.callback_step import CallbackOutput, CallbackOutputTypeEnum, CallbackStep
from sagemaker.workflow.condition_step import ConditionStep
from sagemaker.workflow.conditions import (
    ConditionEquals,
    ConditionGreaterThan,
    ConditionGreaterThanOrEqualTo,
    ConditionIn,
    ConditionLessThan,
    ConditionLessThanOrEqualTo,
    ConditionNot,
    ConditionOr,
)
from sagemaker.workflow.execution_variables import ExecutionVariables
from sagemaker.workflow.fail_step import FailStep
from sagemaker.workflow.functions import Join, JsonGet
from sagemaker.workflow.lambda_step import LambdaOutput, LambdaOutputTypeEnum, LambdaStep
from sagemaker.workflow.model_step import ModelStep
from sagemaker.workflow.parameters import ParameterBoolean, ParameterFloat, ParameterInteger, ParameterString
from sagemaker.workflow.pipeline import Pipeline
from sagemaker.workflow.pipeline_context import PipelineSession
from sagemaker.workflow.properties import PropertyFile
from sagemaker.workflow.steps import ProcessingStep, TrainingStep, TransformStep, TuningStep

ROLE = "arn:aws:iam::100000000002:role/pipelines"
IMAGE = "100000000002.dkr.ecr.eu-west-1.amazonaws.com/images:1"
KEYS = {"aws_access_key_id": "none", "aws_secret_access_key": "none", "region_name": "eu-west-1"}


def session():
    made = PipelineSession(boto_session=boto3.Session(**KEYS), default_bucket="models")
    # The bucket would be looked for, and made, in AWS.
    made._default_bucket = "models"
    return made


def pipeline(sm):
    stage = ParameterString("Stage", default_value="test", enum_values=["test", "live"])
    threshold = ParameterFloat("Threshold", default_value=0.4)
    rounds = ParameterInteger("Rounds", default_value=10)
    tune = ParameterBoolean("Tune", default_value=False)

    report = PropertyFile(name="Report", output_name="report", path="evaluation.json")

    prepare = ProcessingStep(
        name="PrepareData",
        step_args=Processor(ROLE, IMAGE, 1, "ml.m5.xlarge", sagemaker_session=sm).run(
            inputs=[ProcessingInput(source="s3://models/raw", destination="/opt/ml/processing/input", input_name="raw")],
            outputs=[
                ProcessingOutput(source="/opt/ml/processing/train", output_name="train"),
                ProcessingOutput(
                    source="/opt/ml/processing/test",
                    output_name="test",
                    destination=Join(on="/", values=["s3://models", stage, ExecutionVariables.PIPELINE_EXECUTION_ID]),
                ),
            ],
        ),
    )
    outputs = prepare.properties.ProcessingOutputConfig.Outputs

    def estimator():
        return Estimator(
            IMAGE,
            ROLE,
            instance_count=1,
            instance_type="ml.m5.xlarge",
            output_path=Join(on="/", values=["s3://models", stage]),
            hyperparameters={"rounds": rounds},
            metric_definitions=[{"Name": "validation:auc", "Regex": "auc=([0-9.]+)"}],
            sagemaker_session=sm,
        )

    data = {"train": TrainingInput(outputs["train"].S3Output.S3Uri)}
    train = TrainingStep(name="TrainModel", step_args=estimator().fit(inputs=data))
    tuner = HyperparameterTuner(
        estimator(),
        "validation:auc",
        {"eta": ContinuousParameter(0.1, 0.5)},
        metric_definitions=[{"Name": "validation:auc", "Regex": "auc=([0-9.]+)"}],
        max_jobs=2,
    )
    tuning = TuningStep(name="TuneModel", step_args=tuner.fit(inputs=data))
    whether_to_tune = ConditionStep(
        name="WhetherToTune",
        conditions=[ConditionEquals(left=tune, right=True)],
        if_steps=[tuning],
        else_steps=[train],
    )

    evaluate = ProcessingStep(
        name="EvaluateModel",
        step_args=Processor(ROLE, IMAGE, 1, "ml.m5.xlarge", sagemaker_session=sm).run(
            inputs=[ProcessingInput(source=outputs["test"].S3Output.S3Uri, destination="/opt/ml/processing/test")],
            outputs=[ProcessingOutput(source="/opt/ml/processing/report", output_name="report")],
        ),
        property_files=[report],
        depends_on=[prepare],
    )
    auc = JsonGet(step_name=evaluate.name, property_file=report, json_path="binary_classification_metrics.auc.value")
    drift = JsonGet(step_name=evaluate.name, property_file=report, json_path="drift[0]['p-value']")

    tell = LambdaStep(
        name="TellPeople",
        lambda_func=Lambda(function_arn="arn:aws:lambda:eu-west-1:100000000002:function:tell", session=sm),
        inputs={"auc": auc},
        outputs=[
            LambdaOutput("verdict", LambdaOutputTypeEnum.String),
            LambdaOutput("votes", LambdaOutputTypeEnum.Integer),
        ],
    )
    ask = CallbackStep(
        name="AskForApproval",
        sqs_queue_url="https://sqs.eu-west-1.amazonaws.com/100000000002/approvals",
        inputs={"stage": stage},
        outputs=[CallbackOutput("approved", CallbackOutputTypeEnum.Boolean)],
    )
    model = Model(IMAGE, model_data="s3://models/model.tar.gz", role=ROLE, sagemaker_session=sm)
    create = ModelStep(name="Model", step_args=model.create(instance_type="ml.m5.xlarge"))
    register = ModelStep(
        name="Release",
        step_args=model.register(
            content_types=["text/csv"],
            response_types=["text/csv"],
            inference_instances=["ml.m5.xlarge"],
            transform_instances=["ml.m5.xlarge"],
            model_package_group_name="models",
        ),
    )
    score = TransformStep(
        name="ScoreAll",
        step_args=Transformer(
            create.properties.ModelName, 1, "ml.m5.xlarge", output_path="s3://models/scores", sagemaker_session=sm
        ).transform(data="s3://models/raw", content_type="text/csv"),
    )
    rejected = FailStep(
        name="Rejected", error_message=Join(on=" ", values=["rejected on stage", stage, "with auc", auc])
    )
    whether_approved = ConditionStep(
        name="WhetherApproved",
        conditions=[
            ConditionOr([
                ConditionIn(value=tell.properties.Outputs["verdict"], in_values=["good", "fair"]),
                ConditionGreaterThan(left=tell.properties.Outputs["votes"], right=2),
            ]),
            ConditionNot(ConditionEquals(left=ask.properties.Outputs["approved"], right=False)),
        ],
        if_steps=[create, register, score],
        else_steps=[rejected],
    )
    too_bad = FailStep(
        name="TooBad", error_message=Join(on=" ", values=["auc", auc, "is below", threshold])
    )
    whether_good = ConditionStep(
        name="WhetherGood",
        conditions=[
            ConditionGreaterThanOrEqualTo(left=auc, right=threshold),
            ConditionLessThan(left=drift, right=0.5),
            ConditionLessThanOrEqualTo(left=rounds, right=100),
        ],
        if_steps=[tell, ask, whether_approved],
        else_steps=[too_bad],
    )
    return Pipeline(
        name="FromTheSdk",
        parameters=[stage, threshold, rounds, tune],
        steps=[prepare, whether_to_tune, evaluate, whether_good],
        sagemaker_session=sm,
    )


if __name__ == "__main__":
    definition = json.loads(pipeline(session()).definition())
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump(definition, file, indent=1)
        file.write("\n")
