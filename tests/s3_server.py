"""An S3-compatible server in this process, for tests of the storage."""

from collections.abc import Iterator
from contextlib import contextmanager

import boto3
import pytest
from moto.server import ThreadedMotoServer

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "finetrack-test", "AWS_SECRET_ACCESS_KEY": "no-secret-in-this"}
BUCKET = "experiments"


@contextmanager
def s3_server() -> Iterator[str]:
    """The address of a bucket on loopback, for as long as the block; credentials stand in the environment."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        yield f"s3://{BUCKET}/finetrack?endpoint_override={host}:{port}&scheme=http&region=us-east-1"
    server.stop()
