"""What the scripts that drive the simulator share; the endpoint is their only argument."""

import json
import sys
import time
import unittest
import urllib.request
import uuid

import boto3
import botocore.config
from botocore.exceptions import ClientError

ENDPOINT = sys.argv.pop(1)
ROLE = "arn:aws:iam::100000000002:role/pipelines"
NO_RETRIES = botocore.config.Config(retries={"total_max_attempts": 1})


def client(service="sagemaker", region="us-west-2"):
    return boto3.client(
        service,
        endpoint_url=ENDPOINT,
        region_name=region,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        config=NO_RETRIES,
    )


def faults(**patch):
    """Changes what goes wrong: a JSON merge patch over the faults in force."""
    body = json.dumps(patch).encode()
    request = urllib.request.Request(
        ENDPOINT + "/admin/faults", body, {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request) as answer:
        answer.read()


def step(name, kind="Training", after=(), **more):
    return {"Name": name, "Type": kind, "Arguments": {}, "DependsOn": list(after), **more}


class SimulatorCase(unittest.TestCase):
    def setUp(self):
        faults(quota=1000, step_seconds=0.2, stop_seconds=0.1)
        self.sagemaker = client()
        self.errors = self.sagemaker.exceptions

    def pipeline(self, *steps, parameters=()):
        """A new pipeline's name."""
        name = f"P-{uuid.uuid4().hex}"
        definition = {"Version": "2020-12-01", "Parameters": list(parameters), "Steps": list(steps) or [step("Train")]}
        made = self.sagemaker.create_pipeline(
            PipelineName=name,
            PipelineDefinition=json.dumps(definition),
            ClientRequestToken=uuid.uuid4().hex,
            RoleArn=ROLE,
        )
        self.assertEqual(made["PipelineArn"].rsplit("/", 1)[1].lower(), name.lower())
        return name

    def start(self, name, **more):
        more.setdefault("ClientRequestToken", uuid.uuid4().hex)
        return self.sagemaker.start_pipeline_execution(PipelineName=name, **more)["PipelineExecutionArn"]

    def describe(self, arn):
        return self.sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)

    def until(self, arn, *wanted):
        for _ in range(1200):
            found = self.describe(arn)
            if found["PipelineExecutionStatus"] in wanted:
                return found
            time.sleep(0.05)
        self.fail(f"{arn} is {found['PipelineExecutionStatus']}, not {wanted}")

    def steps(self, arn):
        pages = self.sagemaker.get_paginator("list_pipeline_execution_steps").paginate(PipelineExecutionArn=arn)
        return [step for page in pages for step in page["PipelineExecutionSteps"]]

    def code(self, call, **arguments):
        """The error code that a call is refused with."""
        with self.assertRaises(ClientError) as caught:
            call(**arguments)
        self.assertEqual(caught.exception.response["ResponseMetadata"]["HTTPStatusCode"], 400)
        self.assertTrue(caught.exception.response["ResponseMetadata"]["RequestId"])
        self.assertTrue(caught.exception.response["Error"]["Message"])
        return caught.exception.response["Error"]["Code"]
