"""The page's routes, and the server on this machine alone.

python run_meta.py studio my_things --run checkpoints/cifar_fs
"""

import json
import os
import secrets
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from mtl.config import Backbone, Log, Runtime
from mtl.errors import UserError, one_line
from mtl.own_images import classifier_file
from mtl.own_images.console import say
from mtl.own_images.published import embedder_of
from mtl.runtime.outputs import claimed
from mtl.studio.fitted_board import View
from mtl.studio.guard import App, Guard
from mtl.studio.session import SIDE, Session, plan_mark

MOST_BYTES = 64_000_000  # of a dropped picture
_MOST_JSON = 4_000_000  # bytes of a change
_HERE = Path(__file__).parent
_STYLE = _HERE.parent / "report" / "templates" / "style.css"  # of all pages
_MISSING = (
    "studio: needs starlette and uvicorn, which are not installed; pip install '.[studio]' installs them, "
    "or pip install starlette uvicorn"
)


def studio(
    folder: Path | None,
    network: Path | Backbone | None = None,
    classifier: Path | None = None,
    state: Path | None = None,
    port: int = 0,
    log: Log | None = None,
) -> None:
    """Serves the page until it is interrupted.

    Args:
        folder: the user's classes; None: it begins empty, or with those of `classifier`.
        network: a run, or a published network; None: that of `classifier`.
        classifier: made by fit.
        state: the page's own folder; None: `.studio` in `folder`, or in the working folder.
        port: at 127.0.0.1; 0: any that is free.
        log: how progress is shown.

    Raises:
        UserError: libraries are missing, there is no such run, classifier or folder, the state cannot be
            written or another page has it, or the port is taken.
    """
    try:
        import uvicorn
    except ImportError:
        raise UserError(_MISSING) from None
    given = None
    if classifier is not None:
        fitted = classifier_file.load(classifier)
        classifier_file.require_not_fine_tuned(fitted, classifier, "its classes cannot be corrected here")
        embedder, given = fitted.embedder, fitted.support
    else:
        assert network is not None
        embedder = embedder_of(network, Runtime())
    if folder is not None and not folder.is_dir():
        raise UserError(f"{one_line(folder)}: there is no such folder; make it, or name none")
    state = state or (folder or Path()) / ".studio"
    try:
        state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--state: {one_line(state)} cannot be made ({error.strerror})") from None
    with ExitStack() as open_things:
        open_things.enter_context(claimed(state / "journal.jsonl", "studio"))
        listening = open_things.enter_context(_listening(port))
        session = Session(embedder, state, folder, given, log)
        open_things.callback(session.close)
        token, port = secrets.token_urlsafe(24), listening.getsockname()[1]
        config = uvicorn.Config(
            Guard(routes(session, network if isinstance(network, Path) else None), token, port),
            log_level="warning",
            access_log=False,  # which would show the token
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=3,
        )
        say([f"http://127.0.0.1:{port}/{token}/", f"Ctrl-C ends it. Changes are kept in {one_line(state)}."])
        try:
            uvicorn.Server(config).run(sockets=[listening])
        except KeyboardInterrupt:
            say(["Closed."])


def _listening(port: int) -> socket.socket:
    """A socket that only this machine reaches."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        listening.close()
        raise UserError(f"--port: {port} cannot be had ({error}); without it any free one is taken") from None
    return listening


def routes(session: Session, run: Path | None = None) -> App:
    """The application of ASGI, which `Guard` keeps others from.

    Args:
        session: of which one request at a time makes use.
        run: its folder, whose log of hard tasks can be looked at; None: there is none.
    """
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    own, of_run = threading.Lock(), threading.Lock()  # a long look into the log keeps nothing else waiting

    async def with_session(work: Callable[[], Any], lock: threading.Lock = own) -> Any:
        def locked() -> Any:
            with lock:
                return work()

        return await run_in_threadpool(locked)

    async def answered(work: Callable[[], View], lock: threading.Lock = own) -> Response:
        """JSON of what `work` returns; 422 and a sentence where a person asked for what cannot be."""
        try:
            content = json.dumps(await with_session(work, lock))  # in ASCII: file names need not be Unicode
            return Response(content, media_type="application/json", headers={"cache-control": "no-store"})
        except UserError as error:
            return JSONResponse({"error": str(error)}, 422)
        except OSError as error:
            return JSONResponse({"error": f"the change is not kept: {error.strerror}"}, 507)

    async def body(request: Request) -> dict[str, Any]:
        parts = b""
        async for part in request.stream():
            parts += part
            if len(parts) > _MOST_JSON:
                raise UserError("the request is too long")
        try:
            asked = json.loads(parts or b"{}")
        except (ValueError, RecursionError):
            raise UserError("the request is not JSON") from None
        if not isinstance(asked, dict):
            raise UserError("the request must be a JSON object")
        return asked

    def changing(change: Callable[[dict[str, Any]], list[str]]) -> Callable[[Request], Any]:
        """A route that changes something and answers with the view."""

        async def route(request: Request) -> Response:
            try:
                asked = await body(request)
            except UserError as error:
                return JSONResponse({"error": str(error)}, 422)
            return await answered(lambda: {"problems": change(asked), **session.view()})

        return route

    def change(asked: dict[str, Any]) -> list[str]:
        session.change(asked)
        return []

    def read_again() -> list[str]:
        session.read_folder()
        return []

    async def view(_: Request) -> Response:
        return await answered(lambda: {"run": None if run is None else run.name, **session.view()})

    @cache
    def log() -> Any:
        from mtl.studio.run_log import RunLog  # with all that draws reports, which takes seconds

        assert run is not None
        return RunLog(run, SIDE)

    async def hard_tasks(request: Request) -> Response:
        return await answered(lambda: log().view(request.query_params.get("phase", "")), of_run)

    async def upload(request: Request) -> Response:
        """One picture as the body; its name, class and batch, percent-encoded, in headers."""
        name, to, batch = (unquote(request.headers.get(f"x-{key}", "")) for key in ("name", "class", "batch"))
        part = session.pictures / f"{secrets.token_hex(8)}.part"
        too_large = UserError(f"{one_line(name)[:80]}: is larger than {MOST_BYTES // 1_000_000} MB")
        try:
            if int(request.headers.get("content-length", 0)) > MOST_BYTES:
                raise too_large
            size = 0
            with part.open("wb") as file:
                async for piece in request.stream():
                    size += len(piece)
                    if size > MOST_BYTES:
                        raise too_large
                    file.write(piece)
                file.flush()
                await run_in_threadpool(os.fsync, file.fileno())
            return await answered(lambda: {"id": session.add(part, name, to or None, batch[:40])})
        except UserError as error:
            return JSONResponse({"error": str(error)}, 413)
        except (OSError, ValueError) as error:
            return JSONResponse({"error": f"{one_line(name)[:80]}: is not kept ({error})"}, 507)
        finally:
            part.unlink(missing_ok=True)

    async def picture(request: Request) -> Response:
        key = request.path_params["key"]
        try:
            if run is not None and key.startswith("hard-"):
                made = await with_session(lambda: log().picture(key), of_run)
            else:
                made = await with_session(lambda: session.thumbnail(key))
        except KeyError:
            return Response("There is no such picture.", 404)
        kept = {"cache-control": "private, max-age=3600"}
        return Response(made.content, media_type=f"image/{made.kind}", headers=kept)

    async def plan(_: Request) -> Response:
        def planned() -> View:
            moves = session.plan()
            shown = [{"of": m.of, "name": session.board.pictures[m.picture].name, "to": m.to} for m in moves]
            return {"mark": plan_mark(moves), "moves": shown}

        return await answered(planned)

    async def csv(_: Request) -> Response:
        return Response(await with_session(session.csv), headers=_download("answers.csv", "text/csv"))

    async def classifier(_: Request) -> Response:
        try:
            content = await with_session(lambda: session.save().read_bytes())
        except UserError as error:
            return JSONResponse({"error": str(error)}, 422)
        return Response(content, headers=_download("things.fewshot", "application/octet-stream"))

    def fixed(path: Path, kind: str, before: str = "") -> Callable[[Request], Any]:
        async def route(_: Request) -> Response:
            return Response(before + path.read_text(encoding="utf-8"), media_type=kind)

        return route

    return Starlette(
        routes=[
            Route("/", fixed(_HERE / "page.html", "text/html")),
            *(Route(f"/{file.name}", fixed(file, "text/javascript")) for file in _HERE.glob("*.js")),
            Route("/page.css", fixed(_HERE / "page.css", "text/css", _STYLE.read_text(encoding="utf-8"))),
            Route("/view", view),
            *([] if run is None else [Route("/hard-tasks", hard_tasks)]),
            Route("/picture/{key}", picture),
            Route("/change", changing(change), methods=["POST"]),
            Route("/upload", upload, methods=["POST"]),
            Route("/plan", plan),
            Route("/move", changing(lambda asked: session.apply(str(asked.get("mark")))), methods=["POST"]),
            Route("/read", changing(lambda _: read_again()), methods=["POST"]),
            Route("/move-back", changing(lambda _: session.undo_moves()), methods=["POST"]),
            Route("/answers.csv", csv),
            Route("/things.fewshot", classifier),
        ]
    )


def _download(name: str, kind: str) -> dict[str, str]:
    return {
        "content-type": kind,
        "content-disposition": f'attachment; filename="{name}"',
        "cache-control": "no-store",
    }
