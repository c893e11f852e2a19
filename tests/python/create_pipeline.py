"""Makes a pipeline with boto3, as a user would: create_pipeline.py ENDPOINT NAME [STEP ...]"""

import json
import sys

import boto3


def definition(steps, parameters=()):
    """A pipeline definition of training steps, each after the one before."""
    return json.dumps(
        {
            "Version": "2020-12-01",
            "Parameters": list(parameters),
            "Steps": [
                {
                    "Name": name,
                    "Type": "Training",
                    "Arguments": {},
                    "DependsOn": list(steps[max(0, i - 1) : i]),
                }
                for i, name in enumerate(steps)
            ],
        }
    )


def client(endpoint, service="sagemaker", **settings):
    """A boto3 client of the endpoint, with credentials that open nothing elsewhere."""
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name="us-west-2",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        **settings,
    )


if __name__ == "__main__":
    endpoint, name, *steps = sys.argv[1:]
    made = client(endpoint).create_pipeline(
        PipelineName=name,
        PipelineDefinition=definition(steps or ["Prepare", "Train"]),
        ClientRequestToken=name.ljust(32, "-"),
        RoleArn="arn:aws:iam::100000000002:role/pipelines",
    )
    print(made["PipelineArn"])
