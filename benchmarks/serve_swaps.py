"""Swaps under load over HTTP: clients that retry, an alias that moves to and fro, processes that are killed."""

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from benchmarks.serve_world import RUNTIME, Running, World, front_with, service_at
from keydistill.client import Client, Retries
from keydistill.errors import EngineUnavailableError
from keydistill.retrieval import Generation
from keydistill.retrieval.generation import student_loader
from keydistill.settings import Settings, load_settings
from keydistill.vectorstore import Engine
from keydistill.vectorstore.factory import open_engine

_CLIENTS = 8
# Titles that are looked at, and asked for: the first for which the two students find different keyphrases.
_CANDIDATES, _TITLES = 400, 24
_LIMIT = 10
# Keyphrases that an answer shares with the right one at the least: batches of other shapes round otherwise, and the
# graph is not exact. What the two students find has less in common, which is checked.
_SAME = 8
_PROCESSES = 2
# Time for which the server of the engine stays away after it was killed.
_AWAY_SECONDS = 2.0


def run(world: World, swaps: int) -> dict[str, Any]:
    """Swap, kill service processes, compare every answer with the generation that it names."""
    return _run(world, load_settings(home=world.home, runtime=RUNTIME), swaps, None)


def run_on_front(world: World, swaps: int) -> dict[str, Any]:
    """The same with a server for an engine, the REST front of the tests, which is killed and started again, too."""
    with front_with(world, world.collections.values()) as front:
        settings = load_settings(home=world.home, runtime=RUNTIME, engine="server", qdrant_url=front.url)

        def kill_front() -> None:
            front.stop(kill=True)
            time.sleep(_AWAY_SECONDS)
            front.start()

        return _run(world, settings, swaps, kill_front)


def _run(world: World, settings: Settings, swaps: int, kill_front: Callable[[], None] | None) -> dict[str, Any]:
    engine = open_engine(settings)
    titles = [item["title"] for item in world.items[:_CANDIDATES]]
    right: dict[tuple[str, str], list[set[str]]] = {}
    for name in world.collections.values():
        generation = Generation.load(engine, name, student_loader(settings))
        lists = generation.recommend(titles, _LIMIT)
        right[generation.collection, generation.student_version] = [{hit.keyphrase for hit in hits} for hits in lists]
    alike = [len(first & second) for first, second in zip(*right.values(), strict=True)]
    told_apart = [place for place, same in enumerate(alike) if same < _SAME][:_TITLES]
    figures: dict[str, Any] = {"swaps": 0, "killed": 0, "answers": 0, "errors": 0, "mixed": 0}
    if kill_front is not None:
        figures["servers killed"] = 0
    lock, over = threading.Lock(), threading.Event()
    generations: set[str] = set()

    def ask(number: int) -> None:
        with Client(url, retries=Retries(most=30), timeout_seconds=30) as client:
            while not over.is_set():
                number += 1
                place = told_apart[number % len(told_apart)]
                try:
                    answer = client.recommend([titles[place]], limit=_LIMIT)
                except Exception as error:
                    print(f"an error that a retrying client saw: {error}")
                    with lock:
                        figures["errors"] += 1
                    continue
                named = (answer.generation.collection, answer.generation.student_version)
                same = (
                    right[named][place] & {hit.keyphrase for hit in answer.keyphrases[0]} if named in right else set()
                )
                with lock:
                    generations.add(answer.generation.collection)
                    figures["answers"] += 1
                    figures["mixed"] += len(same) < _SAME

    with service_at(world, "--processes", _PROCESSES, settings=settings) as service:
        url = service.url
        clients = [threading.Thread(target=ask, args=(number,)) for number in range(_CLIENTS)]
        for client in clients:
            client.start()
        for swap in range(1, swaps + 1):
            _swap(engine, settings.alias, world.collections["two" if swap % 2 else "three"])
            figures["swaps"] += 1
            if swap in (swaps // 3, 2 * swaps // 3):
                _kill(service)
                figures["killed"] += 1
            if kill_front is not None and swap in (swaps // 2, swaps - 1):
                kill_front()
                figures["servers killed"] += 1
            # A little longer than the pause between two looks at the alias: each swap is followed.
            time.sleep(1.5 * settings.alias_poll_seconds)
        over.set()
        for client in clients:
            client.join()
    _swap(engine, settings.alias, world.collections["three"])
    engine.close()
    return {**figures, "generations": len(generations), "titles": len(told_apart)}


def _kill(service: Running) -> None:
    os.kill(service.pids()[0], signal.SIGKILL)


def _swap(engine: Engine, alias: str, target: str) -> None:
    """Move the alias; a server that has just been started may need a moment."""
    for tries_left in reversed(range(20)):
        try:
            engine.swap_alias(alias, target, engine.aliases().get(alias))
        except EngineUnavailableError:
            if not tries_left:
                raise
            time.sleep(0.5)
        else:
            return
