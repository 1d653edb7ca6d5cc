"""The web pages: Jinja2 with autoescape on, no inline script, nothing from elsewhere.

What devices say is hostile text.  It reaches a page only through autoescaped templates and, for
charts, through JSON; the Content-Security-Policy would stop a script that slipped through.
Pages refresh themselves by fetching their own `main` element again (`?part=1`): one renderer.
"""

import asyncio
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from outpost.errors import ExitCode, OutpostError
from outpost.fleet import api, views

if TYPE_CHECKING:
    from outpost.fleet.service import Service

SECURITY_HEADERS = {
    "content-security-policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'self'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}
_UNITS = {"Cel": "°C", "%RH": "% rh", "Pa": "Pa", "V": "V", "lx": "lx", "ppm": "ppm"}
Context = dict[str, Any]
Page = Callable[["Service", Request], Context]


# --- filters


def ago(ts_ms: int | None) -> str:
    if ts_ms is None:
        return "never"
    seconds = max(0, time.time() - ts_ms / 1000)
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return f"{int(seconds)} s ago"


def when(ts_ms: int | None) -> str:
    if ts_ms is None:
        return "–"
    return datetime.fromtimestamp(ts_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def quantity(item: dict[str, Any]) -> str:
    """A reading for people: `21.5 °C`."""
    if item["value"] is None:
        return str(item["text"])[:40]
    unit, value = _UNITS.get(item["unit"], item["unit"]), item["value"]
    if item["unit"] == "Pa" and value > 10_000:
        unit, value = "hPa", value / 100
    digits = 0 if abs(value) >= 10_000 else 1 if abs(value) >= 100 else 2
    return f"{value:.{digits}f} {unit}".strip()


def size(count: int) -> str:
    return f"{count} B" if count < 1024 else f"{count / 1024:.1f} KiB"


def duration(milliseconds: int | None) -> str:
    if milliseconds is None:
        return "–"
    seconds = milliseconds // 1000
    days, hours, minutes = seconds // 86_400, seconds // 3_600 % 24, seconds // 60 % 60
    return (
        f"{days} d {hours} h"
        if days
        else f"{hours} h {minutes} min"
        if hours
        else (f"{minutes} min" if minutes else f"{seconds} s")
    )


def percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}" if whole else "0"


def environment() -> jinja2.Environment:
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("outpost.fleet"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    found.filters.update(
        ago=ago,
        when=when,
        quantity=quantity,
        tone=lambda word: re.sub(r"[^a-z_]", "", str(word))[:20],
        size=size,
        duration=duration,
        short=lambda digest: (digest or "")[:12] or "–",
    )
    found.globals.update(percent=percent)
    return found


# --- pages


def fleet(service: "Service", request: Request) -> Context:
    return {
        "summary": views.summary(service.registry),
        "devices": views.devices(service.registry),
        "rollouts": [r for r in service.rollouts.all() if r["state"] in ("running", "paused")],
    }


def device(service: "Service", request: Request) -> Context:
    device_id = request.path_params["id"]
    found = views.one_device(service.registry, device_id)
    release = service.registry.releases.find(found["release"]) if found["release"] else None
    return {
        "device": found,
        "release": release,
        "events": service.registry.journal.events(device_id, limit=50),
        "rejects": service.registry.journal.rejects(device_id, limit=20),
        "security": service.registry.journal.security(device=device_id, limit=20),
        "commands": service.registry.commands.of(device_id, limit=20),
    }


def rollouts(service: "Service", request: Request) -> Context:
    return {"rollouts": service.rollouts.all()}


def rollout(service: "Service", request: Request) -> Context:
    rollout_id = request.path_params["id"]
    notes = [line for line in service.registry.audit.lines(500) if line.subject == rollout_id]
    return {
        "rollout": service.rollouts.status(rollout_id),
        "notes": notes,
        "evidence": _evidence(service, service.rollouts.status(rollout_id)["release"]),
    }


def _evidence(service: "Service", digest: str) -> list[Any]:
    """Tracebacks that the rollout's own release left behind, newest first."""
    return [
        event
        for event in service.registry.journal.events(type="evidence", limit=500)
        if event.body.get("digest") == digest
    ][:20]


def releases(service: "Service", request: Request) -> Context:
    running: dict[str, int] = {}
    for item in service.registry.devices.all():
        if item.release:
            running[item.release] = running.get(item.release, 0) + 1
    return {
        "releases": [
            {
                **views.release(item),
                "health": item.payload.get("health", {}),
                "entries": item.payload.get("files", []),
            }
            for item in service.registry.releases.all()
        ],
        "running": running,
    }


def events(service: "Service", request: Request) -> Context:
    return {"events": service.registry.journal.events(limit=200)}


def security(service: "Service", request: Request) -> Context:
    return {
        "security": service.registry.journal.security(limit=200),
        "rejects": service.registry.journal.rejects(limit=100),
    }


def audit(service: "Service", request: Request) -> Context:
    return {"lines": service.registry.audit.lines(200), "broken": service.registry.audit.verify()}


_PAGES: dict[str, tuple[str, Page]] = {
    "/": ("fleet.html", fleet),
    "/devices/{id}": ("device.html", device),
    "/rollouts": ("rollouts.html", rollouts),
    "/rollouts/{id}": ("rollout.html", rollout),
    "/releases": ("releases.html", releases),
    "/events": ("events.html", events),
    "/security": ("security.html", security),
    "/audit": ("audit.html", audit),
}


def _render(
    templates: jinja2.Environment, name: str, page: Page, service: "Service", request: Request
) -> tuple[str, int]:
    part = "part" in request.query_params
    section = request.url.path.split("/")[1] or "fleet"
    common = {"layout": "part.html" if part else "base.html", "section": section}
    try:
        context, status = page(service, request), 200
    except OutpostError as error:
        missing = error.exit_code == ExitCode.DEVICE_NOT_FOUND
        name, context, status = "error.html", {"error": error}, 404 if missing else 500
    return templates.get_template(name).render(**common, **context), status


def _endpoint(templates: jinja2.Environment, name: str, page: Page) -> Any:
    async def endpoint(request: Request) -> Response:
        service: Service = request.app.state.service
        if not api.may_read(service, request):
            return RedirectResponse("/login", 303)
        html, status = await asyncio.to_thread(_render, templates, name, page, service, request)
        return HTMLResponse(html, status, headers=SECURITY_HEADERS)

    return endpoint


def _login(templates: jinja2.Environment) -> Any:
    async def endpoint(request: Request) -> Response:
        service: Service = request.app.state.service
        wrong = False
        if request.method == "POST":
            form = parse_qs((await request.body())[:4096].decode("utf-8", "replace"))
            if service.is_token(form.get("token", [""])[0].strip()):
                answer = RedirectResponse("/", 303)
                answer.set_cookie(
                    api.COOKIE,
                    api.read_cookie(service),
                    httponly=True,
                    samesite="strict",
                    max_age=86_400,
                )
                return answer
            wrong = True
        html = templates.get_template("login.html").render(
            layout="base.html", section="login", wrong=wrong
        )
        return HTMLResponse(html, 401 if wrong else 200, headers=SECURITY_HEADERS)

    return endpoint


def static_folder() -> str:
    return str(resources.files("outpost.fleet") / "static")


def routes() -> list[Route]:
    templates = environment()
    return [
        Route("/login", _login(templates), methods=["GET", "POST"]),
        *(
            Route(path, _endpoint(templates, name, page), methods=["GET"])
            for path, (name, page) in _PAGES.items()
        ),
    ]
