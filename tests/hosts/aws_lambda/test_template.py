"""template.yaml: valid, built for both architectures, and deployed to an emulated AWS, where the function answers."""

from __future__ import annotations

import asyncio
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from botocore.session import get_session

from mcp_edge.settings import Settings
from my_server.server import create_server
from tests.support import lambda_artefact as artefact
from tests.support import sources
from tests.support.function_url import answer_of, event
from tests.support.ministack import CREDENTIALS, ministack

SERVICES = "s3,cloudformation,lambda,iam,sts,secretsmanager,dynamodb,logs,cloudwatch,cloudfront,ssm"
MAX_ZIPPED = 17_000_000
OTHER_HOSTS = (
    "hosts/cli/*",
    "hosts/cloudflare/*",
    "storage/cached.py",
    "storage/cloudflare*.py",
    "storage/javascript.py",
)
"""What of `mcp_edge` a function has no use for. The adapters that `MCP_STORE` may name stay."""
INITIALIZE: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "tests", "version": "1"},
    },
}


def test_sam_and_cfn_lint_find_nothing_to_complain_of() -> None:
    done = artefact.sam("validate", "--lint")
    assert done.returncode == 0, done.stdout
    assert "is a valid SAM Template" in done.stdout


@pytest.mark.parametrize("arch", ["arm64", "x86_64"])
def test_it_is_built_for_both_architectures_whatever_machine_builds_it(tmp_path: Path, arch: str) -> None:
    done = artefact.build(tmp_path, arch=arch)
    assert done.returncode == 0, done.stdout
    built = artefact.artefact(tmp_path)
    machine = {"arm64": b"\xb7", "x86_64": b"\x3e"}[arch]
    binaries = [path.read_bytes()[:20] for path in built.rglob("*.so")]
    assert len(binaries) > 3
    assert {binary[18:19] for binary in binaries} == {machine}  # e_machine of ELF
    tag = artefact.PYTHON.replace(".", "")
    modules = {path.relative_to(built) for path in built.rglob("*.py")}
    compiled = {path.relative_to(built) for path in built.rglob(f"*.cpython-{tag}.pyc")}
    assert {path.parent / "__pycache__" / f"{path.stem}.cpython-{tag}.pyc" for path in modules} == compiled
    flags = {(built / path).read_bytes()[4:8] for path in compiled}
    assert flags == {b"\x01\x00\x00\x00"}  # PEP 552: by hash, unchecked
    archive = tmp_path / "artefact.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        for path in built.rglob("*"):
            zipped.write(path, path.relative_to(built))
    assert archive.stat().st_size <= MAX_ZIPPED


def test_what_only_other_hosts_choose_is_left_out_and_nothing_else(built: Path) -> None:
    entries = {path.name for path in (artefact.ROOT / "lambda").glob("*.py")}
    ours = {str(path.relative_to(built)) for name in sources.PACKAGES for path in (built / name).rglob("*.py")}
    assert entries == {"handler.py", "streaming.py"} <= {path.name for path in built.glob("*.py")}
    assert ours == sources.without(OTHER_HOSTS)
    assert sources.lacking(built, ours | entries) == []


def test_without_an_interpreter_of_the_runtime_s_version_it_is_not_built(tmp_path: Path) -> None:
    done = artefact.build(tmp_path, interpreter="/usr/bin/false")
    assert done.returncode != 0
    assert f"Python {artefact.PYTHON} is needed to compile for Lambda" in done.stdout


@dataclass(frozen=True)
class Deployed:
    """The stack, and clients of the services in it."""

    url: str

    def client(self, service: str) -> Any:
        """A client of `service`."""
        return get_session().create_client(
            service,
            region_name=artefact.REGION,
            endpoint_url=self.url,
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            config=Config(read_timeout=60, retries={"total_max_attempts": 1}),
        )

    def physical(self, logical: str) -> str:
        """The name that a resource got."""
        found = self.client("cloudformation").describe_stack_resource(StackName="mcp", LogicalResourceId=logical)
        return found["StackResourceDetail"]["PhysicalResourceId"]

    def secret(self) -> str:
        """What signs."""
        return self.client("secretsmanager").get_secret_value(SecretId=self.physical("SigningSecret"))["SecretString"]


def deploy(built: Path, url: str, parameters: str) -> None:
    """`sam deploy` to the AWS at `url`."""
    done = artefact.sam(
        *("deploy", "--template-file", str(built.parent / "template.yaml"), "--stack-name", "mcp"),
        *("--resolve-s3", "--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset", "--no-progressbar"),
        *("--parameter-overrides", f"Auth=none Architecture={artefact.ARCH} {parameters}"),
        env={**CREDENTIALS, "AWS_ENDPOINT_URL": url},
    )
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def deployed(built: Path) -> Iterator[Deployed]:
    """What `sam deploy` makes."""
    with ministack(SERVICES, str(artefact.TOOLS / "python")) as url:
        deploy(built, url, f"PythonVersion={artefact.PYTHON}")
        yield Deployed(url)


def test_every_resource_is_made(deployed: Deployed) -> None:
    stack = deployed.client("cloudformation").describe_stacks(StackName="mcp")["Stacks"][0]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    assert outputs["McpUrl"] == outputs["FunctionUrl"] + "mcp"


def test_the_signing_secret_is_generated_and_no_parameter(deployed: Deployed) -> None:
    assert len(deployed.secret()) == 48
    stack = deployed.client("cloudformation").describe_stacks(StackName="mcp")["Stacks"][0]
    assert deployed.secret() not in json.dumps(stack["Parameters"], default=str)
    resources = artefact.template()["Resources"]
    variables = resources["McpFunction"]["Properties"]["Environment"]["Variables"]
    assert variables["MCP_SECRET_KEYS"] == {"Fn::Sub": "{{resolve:secretsmanager:${SigningSecret}:SecretString}}"}


def test_the_table_is_billed_per_request_forgets_what_has_expired_and_can_be_restored(deployed: Deployed) -> None:
    table = deployed.client("dynamodb").describe_table(TableName=deployed.physical("Table"))["Table"]
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert table["KeySchema"] == [
        {"AttributeName": "pk", "KeyType": "HASH"},
        {"AttributeName": "sk", "KeyType": "RANGE"},
    ]
    properties = artefact.template()["Resources"]["Table"]["Properties"]  # the emulator forgets these two
    assert properties["TimeToLiveSpecification"] == {"AttributeName": "ttl", "Enabled": True}
    assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}


def test_everybody_may_call_the_url(deployed: Deployed) -> None:
    client, name = deployed.client("lambda"), deployed.physical("McpFunction")
    url = client.get_function_url_config(FunctionName=name)
    assert (url["AuthType"], url["InvokeMode"]) == ("NONE", "BUFFERED")
    policy = json.loads(client.get_policy(FunctionName=name)["Policy"])
    assert sorted((said["Action"], said["Principal"]) for said in policy["Statement"]) == [
        ("lambda:InvokeFunction", "*"),
        ("lambda:InvokeFunctionUrl", "*"),
    ]


def test_the_url_is_on_the_alias_when_something_is_warm_there() -> None:
    template = artefact.template()
    either = {"Fn::If": ["OnAlias", {"Ref": "McpFunction.Alias"}, {"Fn::GetAtt": ["McpFunction", "Arn"]}]}
    resources = {name: resource["Properties"] for name, resource in template["Resources"].items()}
    assert resources["Url"]["TargetFunctionArn"] == either
    assert [resources[name]["FunctionName"] for name in ("UrlPermission", "UrlInvokePermission")] == [either, either]
    assert template["Conditions"]["OnAlias"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "WarmStart"}, "none"]}]}


def test_the_deployed_function_answers_over_its_table(deployed: Deployed) -> None:
    client, name = deployed.client("lambda"), deployed.physical("McpFunction")
    configured = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    # CloudFormation resolves the reference to the secret; the emulator leaves that to us.
    resolved = {**configured, "MCP_SECRET_KEYS": deployed.secret()}
    client.update_function_configuration(FunctionName=name, Environment={"Variables": resolved})

    def post(message: dict[str, Any], **headers: str) -> tuple[int, dict[str, str], Any]:
        fields = {"content-type": "application/json", "accept": "application/json, text/event-stream", **headers}
        payload = json.dumps(event("POST", "/mcp", fields, json.dumps(message).encode())).encode()
        answer = client.invoke(FunctionName=name, Payload=payload)
        value = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, value
        status, found, body, _ = answer_of(value)
        return status, found, json.loads(body)

    status, headers, opened = post(INITIALIZE)
    server = create_server(Settings())
    assert (status, opened["result"]["serverInfo"]["name"]) == (200, server.name)
    call = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
    status, _, listed = post(call, **{"mcp-session-id": headers["mcp-session-id"]})
    offered = [tool.name for tool in asyncio.run(server.list_tools())]
    assert (status, [tool["name"] for tool in listed["result"]["tools"]]) == (200, offered)
    items = deployed.client("dynamodb").scan(TableName=deployed.physical("Table"))["Items"]
    assert items


def test_every_option_at_once_is_deployed(built: Path) -> None:
    certificate = "arn:aws:acm:us-east-1:000000000000:certificate/11111111-2222-3333-4444-555555555555"
    every = (
        "PythonVersion=3.13 Streaming=RESPONSE_STREAM WarmStart=provisioned ReservedConcurrency=5"
        f" DomainName=mcp.example.com CertificateArn={certificate} AlarmTopicArn=arn:aws:sns:us-east-1:000000000000:a"
    )
    with ministack(SERVICES, str(artefact.TOOLS / "python")) as url:
        aws = Deployed(url)
        deploy(built, url, every)
        stack = aws.client("cloudformation").describe_stacks(StackName="mcp")["Stacks"][0]
        outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        assert (stack["StackStatus"], outputs["McpUrl"]) == ("CREATE_COMPLETE", "https://mcp.example.com/mcp")
        client, name = aws.client("lambda"), aws.physical("McpFunction")
        assert client.get_alias(FunctionName=name, Name="live")["FunctionVersion"] == "1"
        assert client.get_function_url_config(FunctionName=name, Qualifier="live")["InvokeMode"] == "RESPONSE_STREAM"
        variables = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        assert variables["AWS_LAMBDA_EXEC_WRAPPER"] == "/var/task/run.sh"
