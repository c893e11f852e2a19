"""Makes a pipeline with boto3, as a user would: create_pipeline.py ENDPOINT NAME [--role ARN] [STEP ...]"""

import argparse
import json

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
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    return boto3.client(service, endpoint_url=endpoint, region_name="us-west-2", **(keys | settings))


def credentials_of(endpoint, role):
    """Settings of a client that acts as this role, as boto3 itself assumes it."""
    answer = client(endpoint, "sts").assume_role(RoleArn=role, RoleSessionName="owner")
    given = answer["Credentials"]
    return {
        "aws_access_key_id": given["AccessKeyId"],
        "aws_secret_access_key": given["SecretAccessKey"],
        "aws_session_token": given["SessionToken"],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("endpoint")
    parser.add_argument("name")
    parser.add_argument("steps", nargs="*", default=["Prepare", "Train"])
    parser.add_argument("--role", help="assumed first, so that the pipeline is of its account")
    given = parser.parse_args()
    settings = credentials_of(given.endpoint, given.role) if given.role else {}
    made = client(given.endpoint, **settings).create_pipeline(
        PipelineName=given.name,
        PipelineDefinition=definition(given.steps),
        ClientRequestToken=given.name.ljust(32, "-"),
        RoleArn="arn:aws:iam::100000000002:role/pipelines",
    )
    print(made["PipelineArn"])
