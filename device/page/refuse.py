"""Answers of the page: {"ok": true, ...}, or a sentence and a word for what was refused."""

import json
from typing import Any

from aiohttp import web


class Refusal(Exception):
    """What was asked for is not done. status: of HTTP. code: a word for programs. more: further members."""

    def __init__(self, status: int, code: str, sentence: str, **more: Any) -> None:
        super().__init__(sentence)
        self.status, self.code, self.more = status, code, more


def ok(**values: Any) -> web.Response:
    """What was asked for is done."""
    return web.json_response({"ok": True, **values}, dumps=_dumps)


def refused(refusal: Refusal) -> web.Response:
    """The answer that a Refusal becomes."""
    said = {"ok": False, "error": str(refusal), "code": refusal.code, **refusal.more}
    return web.json_response(said, status=refusal.status, dumps=_dumps)


def told(answer: dict[str, Any]) -> web.Response:
    """A command's answer of the daemon, passed on."""
    if answer.get("ok"):
        return ok(**{name: value for name, value in answer.items() if name != "ok"})
    raise Refusal(409, str(answer.get("code", "refused")), str(answer.get("error", "The daemon refused it.")))


def _dumps(value: Any) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False)
