"""Collections as a Qdrant server keeps them, each on one shard of the embedded engine; for tests only.

    folder/aliases.json
    folder/collections/NAME/collection.json     what `GET /collections/NAME` says of its configuration
    folder/collections/NAME/shard/

Everything is on disk before a request is answered, so that the process can be killed and started again.
"""

import json
import shutil
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import qdrant_edge as edge

from keydistill.files import replace_json
from tests.support import strict
from tests.support.wire import (
    SCHEMAS,
    Refusal,
    collection_config,
    filter_of,
    id_of,
    not_found,
    query_of,
    record_json,
    required_filter,
    scored_json,
    shard_config,
    vector_of,
    wire_id,
)

Json = Any
# Of what is kept of a collection, what is no part of its configuration.
_INTERNAL = ("due", "index_params")


class Collection:
    """One shard, its configuration, and how far it is optimised."""

    def __init__(self, folder: Path, config: dict[str, Any], *, new: bool, optimize_delay: float) -> None:
        self._folder = folder
        self._delay = optimize_delay
        self._lock = threading.RLock()
        self.config = config
        self._operations = 0
        # Ids to delete between the two halves of the next query, see `Collection.query_batch`.
        self.amid: list[str] = []
        shard = folder / "shard"
        if new:
            shard.mkdir(parents=True)
            self._shard = edge.EdgeShard.create(str(shard), shard_config(config))
            # Last: a folder without this file is a creation that a killed process left behind.
            self._save()
        else:
            self._shard = edge.EdgeShard.load(str(shard))
        # Like the server after a restart, which does not optimise before it is told to.
        self._status = "grey" if config["due"] else "green"
        self._error: str | None = None

    def info(self) -> Json:
        with self._lock:
            shard = self._shard.info()
            params = self.config.get("index_params") or {}
            schema = {
                field: {"data_type": kind, "points": index.points, "params": params.get(field)}
                for field, index in shard.payload_schema.items()
                for kind, known in SCHEMAS.items()
                if index.data_type == known
            }
            shown = {key: value for key, value in self.config.items() if key not in _INTERNAL and value is not None}
            return {
                "status": self._status,
                "optimizer_status": {"error": self._error} if self._error else "ok",
                "indexed_vectors_count": shard.indexed_vectors_count,
                "points_count": shard.points_count,
                "segments_count": shard.segments_count,
                "config": shown,
                "payload_schema": schema,
            }

    def optimizations(self) -> Json:
        waiting = int(self._status in ("yellow", "grey"))
        summary = {"queued_optimizations": waiting, "queued_segments": waiting, "queued_points": 0, "idle_segments": 1}
        return {"summary": summary, "running": []}

    def change(self, body: Json) -> bool:
        """What PATCH does; the server looks for work whenever the optimisers' or the graph's settings come."""
        with self._lock:
            for key, field in (("hnsw_config", "hnsw_config"), ("optimizers_config", "optimizer_config")):
                self.config[field] |= body.get(key) or {}
            if body.get("quantization_config"):
                self.config["quantization_config"] = body["quantization_config"]
            for key, value in (body.get("metadata") or {}).items():
                metadata = self.config["metadata"] or {}
                if value is None:
                    metadata.pop(key, None)
                else:
                    metadata[key] = value
                self.config["metadata"] = metadata
            if "strict_mode_config" in body:
                self.config["strict_mode_config"] = self.limits | body["strict_mode_config"]
            if "hnsw_config" in body:
                self.config["due"] = self.config["hnsw_config"]["m"] > 0
            self._save()
            if self.config["due"] and ("hnsw_config" in body or "optimizers_config" in body):
                self._status = "yellow"
                threading.Thread(target=self._optimize, daemon=True).start()
        return True

    def create_index(self, body: Json) -> Json:
        asked = body["field_schema"]
        params = asked if isinstance(asked, dict) else None
        kind = params["type"] if params else asked
        if kind not in SCHEMAS:
            raise Refusal(400, f"this front makes indexes of {sorted(SCHEMAS)} only")
        strict.check_index(self.limits, len({*self._indexed(), body["field_name"]}))
        answer = self._update(edge.UpdateOperation.create_field_index(body["field_name"], SCHEMAS[kind]))
        with self._lock:
            self.config.setdefault("index_params", {})[body["field_name"]] = params
            self._save()
        return answer

    @property
    def limits(self) -> dict[str, Any]:
        """The limits of strict mode, where it is on."""
        limits = self.config.get("strict_mode_config") or {}
        return limits if limits.get("enabled") else {}

    def _indexed(self) -> set[str]:
        return set(self._shard.info().payload_schema)

    def upsert(self, body: Json) -> Json:
        if self.limits:
            strict.check_upsert(self.limits, body, self.count({})["count"])
        if "batch" in body:
            batch = body["batch"]
            payloads = batch.get("payloads") or [{}] * len(batch["ids"])
            rows: Iterable[tuple[Any, Any, Any]] = zip(batch["ids"], batch["vectors"], payloads, strict=True)
        else:
            rows = ((point["id"], point["vector"], point.get("payload")) for point in body["points"])
        points = [edge.Point(id_of(id), vector_of(vector), payload or {}) for id, vector, payload in rows]
        return self._update(edge.UpdateOperation.upsert_points(points))

    def delete(self, body: Json) -> Json:
        if "filter" in body:
            strict.check_filtered_update(self.limits, body["filter"])
            return self._update(edge.UpdateOperation.delete_points_by_filter(required_filter(body["filter"])))
        return self._update(edge.UpdateOperation.delete_points([id_of(id) for id in body["points"]]))

    def set_payload(self, body: Json) -> Json:
        if body.get("filter"):
            strict.check_filtered_update(self.limits, body["filter"])
            return self._update(
                edge.UpdateOperation.set_payload_by_filter(required_filter(body["filter"]), body["payload"])
            )
        return self._update(edge.UpdateOperation.set_payload([id_of(id) for id in body["points"]], body["payload"]))

    def query(self, body: Json) -> Json:
        return self.query_batch({"searches": [body]})[0]

    def query_batch(self, body: Json) -> Json:
        """Like the server it finds ids first and reads payloads after: what is deleted in between is left out."""
        requests = edge.QueryBatchRequest([query_of(search) for search in body["searches"]])
        with self._lock:
            strict.check_batch(self.limits, len(body["searches"]))
            for search in body["searches"]:
                strict.check_search(self.limits, search, self._indexed() if self.limits else set())
            found = _refusing(self._shard.query_batch, requests)
            amid, self.amid = set(self.amid), []
            if amid:
                self.delete({"points": list(amid)})
        return [{"points": [scored_json(point) for point in points if str(point.id) not in amid]} for points in found]

    def scroll(self, body: Json) -> Json:
        strict.check_search(self.limits, body, self._indexed() if self.limits else set())
        offset = body.get("offset")
        request = edge.ScrollRequest(
            offset=None if offset is None else id_of(offset),
            limit=body.get("limit", 10),
            filter=filter_of(body.get("filter")),
            with_payload=body.get("with_payload", True),
            with_vector=body.get("with_vector", False),
        )
        with self._lock:
            points, following = _refusing(self._shard.scroll, request)
        return {
            "points": [record_json(point) for point in points],
            "next_page_offset": None if following is None else wire_id(following),
        }

    def retrieve(self, body: Json) -> Json:
        with self._lock:
            points = _refusing(
                self._shard.retrieve,
                [id_of(id) for id in body["ids"]],
                body.get("with_payload", True),
                body.get("with_vector", False),
            )
        return [record_json(point) for point in points]

    def count(self, body: Json) -> Json:
        with self._lock:
            return {"count": _refusing(self._shard.count, edge.CountRequest(filter=filter_of(body.get("filter"))))}

    def close(self) -> None:
        with self._lock:
            self._shard.close()

    def _update(self, operation: edge.UpdateOperation) -> Json:
        with self._lock:
            _refusing(self._shard.update, operation)
            self._operations += 1
            return {"operation_id": self._operations, "status": "completed"}

    def _optimize(self) -> None:
        time.sleep(self._delay)
        with self._lock:
            try:
                self._shard.close()
                self._shard = edge.EdgeShard.load(str(self._folder / "shard"), shard_config(self.config))
                self._shard.optimize()
                self.config["due"] = False
                self._save()
                self._status = "green"
            except Exception as error:
                self._status, self._error = "red", str(error)

    def _save(self) -> None:
        replace_json(self._folder / "collection.json", self.config)


class Shelf:
    """All collections and aliases of one folder."""

    def __init__(self, folder: Path, *, optimize_delay: float = 0.05, limits: Json = None) -> None:
        self._folder = folder
        self._delay = optimize_delay
        self._limits = limits
        self._lock = threading.RLock()
        aliases = folder / "aliases.json"
        self.aliases: dict[str, str] = json.loads(aliases.read_text()) if aliases.exists() else {}
        self.collections: dict[str, Collection] = {}
        for config in sorted(folder.glob("collections/*/collection.json")):
            self.collections[unquote(config.parent.name)] = Collection(
                config.parent, json.loads(config.read_text()), new=False, optimize_delay=optimize_delay
            )

    def get(self, name: str) -> Collection:
        with self._lock:
            found = self.collections.get(self.aliases.get(name, name))
        if found is None:
            raise not_found(name)
        return found

    def create(self, name: str, body: Json) -> bool:
        with self._lock:
            if name in self.aliases:
                raise Refusal(400, f"Wrong input: Can't create collection with name {name}. Alias exists already")
            if name in self.collections:
                raise Refusal(409, f"Wrong input: Collection `{name}` already exists!")
            folder = self._folder / "collections" / quote(name, safe="")
            shutil.rmtree(folder, ignore_errors=True)
            self.collections[name] = Collection(
                folder, collection_config(body, self._limits), new=True, optimize_delay=self._delay
            )
        return True

    def drop(self, name: str) -> bool:
        with self._lock:
            found = self.collections.pop(name, None)
            if found is None:
                return False
            self._save_aliases({alias: target for alias, target in self.aliases.items() if target != name})
            found.close()
            shutil.rmtree(self._folder / "collections" / quote(name, safe=""))
        return True

    def change_aliases(self, actions: list[Json]) -> bool:
        with self._lock:
            aliases = dict(self.aliases)
            for action in actions:
                if "delete_alias" in action:
                    aliases.pop(action["delete_alias"]["alias_name"], None)
                    continue
                alias, target = action["create_alias"]["alias_name"], action["create_alias"]["collection_name"]
                if target not in self.collections:
                    raise not_found(target)
                if alias in self.collections:
                    raise Refusal(409, f"Wrong input: Collection `{alias}` already exists!")
                aliases[alias] = target
            self._save_aliases(aliases)
        return True

    def close(self) -> None:
        for collection in self.collections.values():
            collection.close()

    def _save_aliases(self, aliases: dict[str, str]) -> None:
        replace_json(self._folder / "aliases.json", aliases)
        self.aliases = aliases


def _refusing(function: Any, *args: Any) -> Any:
    """Call the engine; what it refuses becomes what the server answers."""
    try:
        return function(*args)
    except Exception as error:
        if type(error) is not Exception:
            raise
        reason = str(error)
        raise Refusal(404 if "No point with id" in reason else 400, f"Wrong input: {reason}") from error
