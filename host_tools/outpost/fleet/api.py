"""The JSON API under /api/v1.

Reading is open on loopback and needs the token elsewhere.  Changing anything needs
`Authorization: Bearer <token>` always: a header no foreign page can make a browser send, so
there is nothing to forge; cookies never authorise a change.  Every failure is one object
`{"ok": false, "error": {code, message, fix}}`.
"""

import asyncio
import base64
import hmac
import json
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from outpost.errors import ExitCode, OutpostError
from outpost.fleet import views
from outpost.fleet.rollout import DEFAULT_STAGES, Policy, Stage

if TYPE_CHECKING:
    from outpost.fleet.service import Service

COOKIE = "outpost-read"
MAX_BODY_BYTES = 64 * 1024
MAX_LIMIT = 1000
DAY_MS = 86_400_000
_STATUS = {
    ExitCode.USAGE: 400,
    ExitCode.DEVICE_NOT_FOUND: 404,
    ExitCode.ALREADY_DONE: 409,
    ExitCode.REFUSED: 409,
    ExitCode.NOT_AUTHORISED: 401,
    ExitCode.VERIFICATION_FAILED: 422,
}

Handler = Callable[["Service", Request], Any]


def failure(error: OutpostError) -> JSONResponse:
    try:
        status = _STATUS.get(ExitCode(error.exit_code), 500)
    except ValueError:
        status = 500
    return JSONResponse({"ok": False, "error": error.as_dict()}, status)


def authorise(service: "Service", request: Request) -> None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not service.is_token(token):
        raise OutpostError(
            "token",
            "this needs the fleet's token",
            "it is in the file `token` of the fleet's folder",
            ExitCode.NOT_AUTHORISED,
        )


def read_cookie(service: "Service") -> str:
    """What a browser that logged in carries; good for reading only."""
    return hmac.new(service.token.encode(), b"outpost read", "sha256").hexdigest()


def may_read(service: "Service", request: Request) -> bool:
    if service.reading_is_open:
        return True
    given = request.cookies.get(COOKIE, "")
    return hmac.compare_digest(given.encode(), read_cookie(service).encode())


async def _body(request: Request) -> dict[str, Any]:
    raw = b""
    async for part in request.stream():
        raw += part
        if len(raw) > MAX_BODY_BYTES:
            raise OutpostError("too-large", "the request is too large", None, ExitCode.USAGE)
    try:
        body = json.loads(raw or b"{}")
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise OutpostError("body", "the request is not a JSON object", None, ExitCode.USAGE)
    return body


def _endpoint(handler: Handler, change: bool) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        service: Service = request.app.state.service
        try:
            if change or not may_read(service, request):
                authorise(service, request)
            if change:
                request.state.body = await _body(request)
            # The registry and the engines block: never on the event loop.
            result = await asyncio.to_thread(handler, service, request)
        except OutpostError as error:
            return failure(error)
        return JSONResponse({"ok": True, **result}, headers={"cache-control": "no-store"})

    return endpoint


def _limit(request: Request, default: int = 200) -> int:
    return _whole(request, "limit", default, 1, MAX_LIMIT)


def _whole(request: Request, name: str, default: int, low: int, high: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        return max(low, min(high, int(text)))
    except ValueError:
        raise OutpostError(
            "query", f"{name} is not a whole number", None, ExitCode.USAGE
        ) from None


# --- reading


def summary(service: "Service", request: Request) -> Any:
    return {"summary": views.summary(service.registry)}


def devices(service: "Service", request: Request) -> Any:
    return {"summary": views.summary(service.registry), "devices": views.devices(service.registry)}


def device(service: "Service", request: Request) -> Any:
    return {"device": views.one_device(service.registry, request.path_params["id"])}


def telemetry(service: "Service", request: Request) -> Any:
    device_id = service.registry.devices.get(request.path_params["id"]).id
    latest = service.registry.telemetry.latest(device_id).get(device_id, {})
    end = _whole(request, "to", time.time_ns() // 1_000_000 + DAY_MS, 0, 2**48)
    start = _whole(request, "from", end - 2 * DAY_MS, 0, 2**48)
    wanted = request.query_params.getlist("metric") or list(latest)
    limit = _limit(request)
    return {
        "device": device_id,
        "series": [
            {
                "metric": name,
                "unit": latest[name].unit,
                "points": service.registry.telemetry.series(device_id, name, (start, end), limit),
            }
            for name in wanted[:32]
            if name in latest
        ],
    }


def events(service: "Service", request: Request) -> Any:
    query = request.query_params
    return {
        "events": [
            views.event(item)
            for item in service.registry.journal.events(
                query.get("device"), query.get("type"), _limit(request)
            )
        ]
    }


def security(service: "Service", request: Request) -> Any:
    query = request.query_params
    return {
        "security": [
            views.security(item)
            for item in service.registry.journal.security(
                query.get("kind"), query.get("device"), _limit(request)
            )
        ]
    }


def rejects(service: "Service", request: Request) -> Any:
    return {
        "rejects": [
            views.reject(item)
            for item in service.registry.journal.rejects(
                request.query_params.get("device"), _limit(request)
            )
        ]
    }


def audit(service: "Service", request: Request) -> Any:
    return {"audit": [views.audit(item) for item in service.registry.audit.lines(_limit(request))]}


def releases(service: "Service", request: Request) -> Any:
    return {"releases": [views.release(item) for item in service.registry.releases.all()]}


def rollouts(service: "Service", request: Request) -> Any:
    return {"rollouts": service.rollouts.all()}


def rollout(service: "Service", request: Request) -> Any:
    return {"rollout": service.rollouts.status(request.path_params["id"])}


def commands(service: "Service", request: Request) -> Any:
    device_id = service.registry.devices.get(request.path_params["id"]).id
    return {"commands": [views.command(item) for item in service.registry.commands.of(device_id)]}


def command(service: "Service", request: Request) -> Any:
    item = service.registry.commands.get(request.path_params["id"])
    if item is None:
        raise OutpostError("unknown-command", "no such command", None, ExitCode.DEVICE_NOT_FOUND)
    return {"command": views.command(item)}


# --- changing


def send_command(service: "Service", request: Request) -> Any:
    body = request.state.body
    verb, args, ttl_s = body.get("cmd"), body.get("args", {}), body.get("ttl_s", 3600)
    if (
        not isinstance(verb, str)
        or not 0 < len(verb) <= 24
        or not isinstance(args, dict)
        or type(ttl_s) is not int
        or not 0 < ttl_s <= 30 * 86_400
    ):
        raise OutpostError("command", "a command has cmd, args and ttl_s", None, ExitCode.USAGE)
    device_id = request.path_params["id"]
    if "ops" in body:
        return {"command": views.command(service.send_signed(device_id, verb, _ops(body), "api"))}
    sent = service.send_command(device_id, verb, args, ttl_s, "api")
    return {"command": views.command(sent)}


def _ops(body: dict[str, Any]) -> bytes:
    """A signed command; it says itself which device it is for, so there is nothing to confirm."""
    try:
        return base64.b64decode(body["ops"], validate=True)
    except (TypeError, ValueError):
        raise OutpostError("ops", "ops is not base64", None, ExitCode.USAGE) from None


def desired(service: "Service", request: Request) -> Any:
    device = service.registry.devices.get(request.path_params["id"])
    wanted = service.registry.desired.of(device.id)
    return {"settings": views.settings(wanted, device.reported)}


def desire(service: "Service", request: Request) -> Any:
    """{"set": {name: number}, "unset": [name]}: a change of what is wanted, not all of it."""
    body = request.state.body
    changes, without = body.get("set", {}), body.get("unset", [])
    if not isinstance(changes, dict) or not isinstance(without, list) or not (changes or without):
        raise OutpostError("settings", "this needs set or unset", None, ExitCode.USAGE)
    if not all(isinstance(name, str) for name in without):
        raise OutpostError("settings", "unset is a list of names", None, ExitCode.USAGE)
    service.desire(request.path_params["id"], {**dict.fromkeys(without), **changes}, "api")
    return desired(service, request)


def retire(service: "Service", request: Request) -> Any:
    device_id = request.path_params["id"]
    if request.state.body.get("confirm") != device_id:
        raise OutpostError(
            "confirm",
            "retiring is final: the device id must be confirmed",
            'send {"confirm": "<device id>"}',
            ExitCode.USAGE,
        )
    service.retire(device_id)
    return {"device": views.one_device(service.registry, device_id)}


def create_rollout(service: "Service", request: Request) -> Any:
    body = request.state.body
    product, version = body.get("product"), body.get("version")
    if not isinstance(product, str) or not isinstance(version, str):
        raise OutpostError("rollout", "a rollout has product and version", None, ExitCode.USAGE)
    rollout_id = service.rollouts.create(
        product, version, _stages(body.get("stages")), _policy(body.get("policy")), actor="api"
    )
    return {"rollout": service.rollouts.status(rollout_id)}


def _stages(given: Any) -> tuple[Stage, ...]:
    if given is None:
        return DEFAULT_STAGES
    try:
        return tuple(
            Stage(
                str(entry["name"])[:64],
                tuple(map(str, entry.get("devices", ()))),
                float(entry.get("percent", 0)),
            )
            for entry in given
        )
    except (TypeError, KeyError, ValueError, AttributeError):
        raise OutpostError(
            "stages", "a stage has a name and devices or a percentage", None, ExitCode.USAGE
        ) from None


def _policy(given: Any) -> Policy:
    try:
        return Policy(**(given or {}))
    except TypeError:
        raise OutpostError("policy", "unknown entry in the policy", None, ExitCode.USAGE) from None


def order_rollout(service: "Service", request: Request) -> Any:
    rollout_id, verb = request.path_params["id"], request.path_params["verb"]
    reason = str(request.state.body.get("reason") or "by hand")[:200]
    if verb == "pause":
        service.rollouts.pause(rollout_id, reason, "api")
    elif verb == "resume":
        service.rollouts.resume(rollout_id, "api")
    elif verb == "abort":
        service.rollouts.abort(rollout_id, reason, "api")
    else:
        raise OutpostError("verb", f"a rollout cannot {verb[:20]}", None, ExitCode.USAGE)
    return {"rollout": service.rollouts.status(rollout_id)}


def publish(service: "Service", request: Request) -> Any:
    """From a folder on the server's machine; the signature is what is believed, not the caller."""
    folder = request.state.body.get("folder")
    if not isinstance(folder, str):
        raise OutpostError("folder", "publishing needs a folder", None, ExitCode.USAGE)
    return {"release": views.release(service.publish(folder, "api"))}


_GETS: dict[str, Handler] = {
    "/summary": summary,
    "/devices": devices,
    "/devices/{id}": device,
    "/devices/{id}/telemetry": telemetry,
    "/devices/{id}/commands": commands,
    "/devices/{id}/desired": desired,
    "/commands/{id}": command,
    "/releases": releases,
    "/rollouts": rollouts,
    "/rollouts/{id}": rollout,
    "/events": events,
    "/security": security,
    "/rejects": rejects,
    "/audit": audit,
}
_POSTS: dict[str, Handler] = {
    "/devices/{id}/commands": send_command,
    "/devices/{id}/desired": desire,
    "/devices/{id}/retire": retire,
    "/releases": publish,
    "/rollouts": create_rollout,
    "/rollouts/{id}/{verb}": order_rollout,
}


def routes() -> list[Route]:
    return [
        *(
            Route(path, _endpoint(handler, False), methods=["GET"])
            for path, handler in _GETS.items()
        ),
        *(
            Route(path, _endpoint(handler, True), methods=["POST"])
            for path, handler in _POSTS.items()
        ),
    ]
