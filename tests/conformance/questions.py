"""The fixture's tools that ask the client something, and the forms they show. They know no wire."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from mcp.server.mcpserver import Context, Elicit, MCPServer, Resolve, Sample
from mcp_types import (
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequest,
    InputRequiredResult,
    ListRootsRequest,
    ListRootsResult,
    SamplingMessage,
    TextContent,
)
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel


class Account(BaseModel):
    """What `test_elicitation` asks for."""

    username: str = Field(description="User's response")
    email: str = Field(description="User's email address")


class Name(BaseModel):
    """A form of one field."""

    name: str


class Defaults(BaseModel):
    """A default for each primitive type (SEP-1034)."""

    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: Literal["active", "inactive", "pending"] = "active"
    verified: bool = True


def _choices(noun: str) -> list[JsonValue]:
    titles = {"value1": "First", "value2": "Second", "value3": "Third"}
    return [{"const": const, "title": f"{title} {noun}"} for const, title in titles.items()]


class Enums(BaseModel):
    """The five ways to write a choice (SEP-1330)."""

    model_config = ConfigDict(alias_generator=to_camel)

    untitled_single: Literal["option1", "option2", "option3"]
    titled_single: str = Field(json_schema_extra={"oneOf": _choices("Option")})
    legacy_enum: str = Field(
        json_schema_extra={"enum": ["opt1", "opt2", "opt3"], "enumNames": ["Option One", "Option Two", "Option Three"]}
    )
    untitled_multi: list[str] = Field(
        json_schema_extra={"items": {"type": "string", "enum": ["option1", "option2", "option3"]}}
    )
    titled_multi: list[str] = Field(json_schema_extra={"items": {"anyOf": _choices("Choice")}})


def add_asking_tools(server: MCPServer) -> None:
    """Tools that ask the client while they run (handshake wires), or by resolvers (every wire)."""

    @server.tool(structured_output=False)
    async def test_sampling(prompt: str, ctx: Context) -> str:
        """Asks the client's model."""
        message = SamplingMessage(role="user", content=TextContent(type="text", text=prompt))
        answer = await ctx.session.create_message(  # pyright: ignore[reportDeprecated] - the handshake wires have it
            [message], max_tokens=100, related_request_id=ctx.request_id
        )
        return f"LLM response: {answer.content.text if isinstance(answer.content, TextContent) else answer.content}"

    @server.tool(structured_output=False)
    async def test_elicitation(message: str, ctx: Context) -> str:
        """Asks the user."""
        answer = await ctx.elicit(message, Account)
        return f"User response: {answer.model_dump_json()}"

    @server.tool(structured_output=False)
    async def test_elicitation_sep1034_defaults(ctx: Context) -> str:
        """Asks the user with a form full of defaults."""
        answer = await ctx.elicit("Please confirm the details", Defaults)
        return f"Elicitation completed: {answer.model_dump_json()}"

    @server.tool(structured_output=False)
    async def test_elicitation_sep1330_enums(ctx: Context) -> str:
        """Asks the user with every kind of choice."""
        answer = await ctx.elicit("Please choose", Enums)
        return f"Elicitation completed: {answer.model_dump_json()}"

    @server.tool(structured_output=False)
    async def test_missing_capability(joke: Annotated[CreateMessageResult, Resolve(_joke)]) -> str:
        """Cannot run for a client without sampling."""
        return f"Model: {joke.model}"

    @server.tool(structured_output=False)
    async def test_streaming_elicitation(answer: Annotated[Name, Resolve(_name)]) -> str:
        """Asks the user; the question rides in the result, never as a request on the stream."""
        return f"Hello, {answer.name}!"


def _joke() -> Sample:
    return Sample([SamplingMessage(role="user", content=TextContent(type="text", text="A joke"))], max_tokens=50)


def _name() -> Elicit[Name]:
    return Elicit("What is your name?", Name)


def form(message: str, **fields: str) -> ElicitRequest:
    """A question for the user; `fields` maps each required field to its JSON type."""
    properties = {name: {"type": kind} for name, kind in fields.items()}
    schema = {"type": "object", "properties": properties, "required": list(fields)}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def _sample(prompt: str, max_tokens: int) -> CreateMessageRequest:
    message = SamplingMessage(role="user", content=TextContent(type="text", text=prompt))
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=[message], max_tokens=max_tokens))


def entered(ctx: Context, key: str, field: str) -> str | None:
    """What the user entered, or None if the question is still open or answered with something else."""
    answer = (ctx.input_responses or {}).get(key)
    if not isinstance(answer, ElicitResult) or answer.action != "accept" or not answer.content:
        return None
    value = answer.content.get(field)
    return None if value is None else str(value)


def add_input_required_tools(server: MCPServer) -> None:
    """Tools that drive the rounds of SEP-2322 themselves. Only what `request_state` carries is remembered."""

    @server.tool(structured_output=False)
    async def test_input_required_result_elicitation(ctx: Context) -> str | InputRequiredResult:
        """Asks for a name."""
        name = entered(ctx, "user_name", "name")
        if name is None:
            return InputRequiredResult(input_requests={"user_name": form("What is your name?", name="string")})
        return f"Hello, {name}!"

    @server.tool(structured_output=False)
    async def test_input_required_result_sampling(ctx: Context) -> str | InputRequiredResult:
        """Asks the client's model."""
        answer = (ctx.input_responses or {}).get("capital_question")
        if not isinstance(answer, CreateMessageResult):
            question = _sample("What is the capital of France?", 100)
            return InputRequiredResult(input_requests={"capital_question": question})
        return answer.content.text if isinstance(answer.content, TextContent) else "Not text."

    @server.tool(structured_output=False)
    async def test_input_required_result_list_roots(ctx: Context) -> str | InputRequiredResult:
        """Asks for the client's roots."""
        answer = (ctx.input_responses or {}).get("client_roots")
        if not isinstance(answer, ListRootsResult):
            return InputRequiredResult(input_requests={"client_roots": ListRootsRequest()})
        return f"Roots: {', '.join(str(root.uri) for root in answer.roots)}"

    @server.tool(structured_output=False)
    async def test_input_required_result_request_state(ctx: Context) -> str | InputRequiredResult:
        """Finds its state again."""
        return _confirmed(ctx)

    @server.tool(structured_output=False)
    async def test_input_required_result_tampered_state(ctx: Context) -> str | InputRequiredResult:
        """Never sees a state that the client changed."""
        return _confirmed(ctx)

    @server.tool(structured_output=False)
    async def test_input_required_result_multiple_inputs(ctx: Context) -> str | InputRequiredResult:
        """Asks three things at once."""
        answers = ctx.input_responses or {}
        if ctx.request_state != "three" or not {"user_name", "greeting", "client_roots"} <= answers.keys():
            questions: dict[str, InputRequest] = {
                "user_name": form("What is your name?", name="string"),
                "greeting": _sample("Generate a greeting", 50),
                "client_roots": ListRootsRequest(),
            }
            return InputRequiredResult(input_requests=questions, request_state="three")
        return f"Answered: {', '.join(sorted(answers))}"

    @server.tool(structured_output=False)
    async def test_input_required_result_multi_round(ctx: Context) -> str | InputRequiredResult:
        """Asks one thing after the other."""
        known: dict[str, str] = json.loads(ctx.request_state or "{}")
        if "name" not in known:
            name = entered(ctx, "step1", "name") if ctx.request_state else None
            if name is None:
                question = form("Step 1: What is your name?", name="string")
                return InputRequiredResult(input_requests={"step1": question}, request_state="{}")
            known["name"] = name
        color = entered(ctx, "step2", "color")
        if color is None:
            question = form("Step 2: What is your favorite color?", color="string")
            return InputRequiredResult(input_requests={"step2": question}, request_state=json.dumps(known))
        return f"{known['name']} likes {color}."

    @server.tool(structured_output=False)
    async def test_input_required_result_capabilities(ctx: Context) -> str | InputRequiredResult:
        """Asks only what the client says it can answer."""
        able = ctx.client_capabilities
        questions: dict[str, InputRequest] = {}
        if able and able.elicitation:
            questions["user_name"] = form("What is your name?", name="string")
        if able and able.sampling:
            questions["greeting"] = _sample("Generate a greeting", 50)
        if not questions or questions.keys() <= (ctx.input_responses or {}).keys():
            return f"Answered: {', '.join(sorted(questions)) or 'nothing to ask'}"
        return InputRequiredResult(input_requests=questions)


def _confirmed(ctx: Context) -> str | InputRequiredResult:
    if ctx.request_state == "asked" and entered(ctx, "confirm", "ok") is not None:
        return "state-ok"
    question = form("Please confirm", ok="boolean")
    return InputRequiredResult(input_requests={"confirm": question}, request_state="asked")
