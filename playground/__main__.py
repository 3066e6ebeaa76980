"""`python -m playground`: serve until SIGTERM or SIGINT."""

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from playground.accounts import BOTS, LLM_KEY, LLM_MODEL, TEACHER
from playground.app import create_app
from playground.config import Config
from playground.journal import JournalInUseError
from playground.llm.real import WeightsMissingError
from playground.serve import HOST, PortTakenError, listen, server_of


def main() -> int:
    config = _config(sys.argv[1:])
    logging.basicConfig(level=logging.WARNING, format="playground: %(message)s")
    try:
        listener = listen(config.port)
        server = server_of(create_app(config))
    except (PortTakenError, JournalInUseError, WeightsMissingError, OSError) as error:
        _say(f"playground: {error}", sys.stderr)
        return 2 if isinstance(error, WeightsMissingError) else 1
    url = f"http://{HOST}:{listener.getsockname()[1]}"

    def leave() -> None:
        # From here on, requests that are cut off are no news.
        logging.disable()
        server.should_exit = True

    async def serve() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, leave)
        _say(f"Site   {url}/  ({TEACHER.username} / {TEACHER.password}, {BOTS[0].username} / {BOTS[0].password})")
        _say(f"Model  {url}/llm/v1  ({LLM_MODEL}, key {LLM_KEY})")
        await server.serve([listener])

    asyncio.run(serve())
    return 0


def _config(arguments: list[str]) -> Config:
    parser = argparse.ArgumentParser("python -m playground", description="A local stand-in for the outside world.")
    parser.add_argument("--port", type=int, default=8765, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--data-dir", type=Path, help="where the state is kept (default: in memory)")
    parser.add_argument("--llm", choices=("real", "scripted"), default="scripted")
    parser.add_argument("--llm-latency", type=float, default=0.0, help="seconds that the scripted model takes")
    parser.add_argument("--articles", type=int, default=6, help="articles of each class at the start")
    parser.add_argument("--new-article-every", type=float, default=45.0, help="seconds; 0 for never")
    parser.add_argument("--session-seconds", type=float, default=24 * 3600.0)
    parser.add_argument("--seed", type=int, default=1)
    return Config(**vars(parser.parse_args(arguments)))


def _say(sentence: str, stream: object = None) -> None:
    print(sentence, file=stream or sys.stdout, flush=True)  # type: ignore[arg-type]


if __name__ == "__main__":
    status = main()
    # The model's threads cannot be interrupted; nothing is left to be saved, so do not wait for them.
    os._exit(status)
