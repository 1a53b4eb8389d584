"""Plans: their arithmetic by hand, and what contradicts itself."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keydistill.capacity import (
    HEADROOM,
    Figures,
    Wanted,
    default_figures,
    plan_capacity,
    read_figures,
    wanted_of,
    write_figures,
)
from keydistill.capacity.figures import Embedding, Sync, Trial
from keydistill.errors import InputError, SettingsError
from keydistill.settings import load_settings

MB = 1_000_000


def trial(points: int, dimension: int = 100) -> Trial:
    """A trial in which everything grows evenly: 10 MB of a process, and so many bytes per point."""
    return Trial(
        points=points,
        dimension=dimension,
        write_seconds=points / 10_000,
        optimise_seconds=points * math.log(points) / 1e4,
        disk={
            "vectors": points * 4 * dimension,
            "quantized": points * (dimension + 4),
            "graph": points * 60,
            "payload": points * 150,
            "indexes": points * 200,
            "ids": points * 30,
            "log": points * (4 * dimension + 300),
            "other": 1_000,
        },
        peak_disk_bytes=2 * points * (4 * dimension + dimension + 4 + 440 + 4 * dimension + 300),
        optimiser_bytes=20 * MB + points * (dimension + 4 + 46),
        reader={"own": 60 * MB + points * (dimension + 256), "graph": points * 60, "indexes": 16 * MB, "ids": 0},
        query_p50_ms=0.5,
        query_p99_ms=2.0,
    )


FIGURES = Figures(
    measured_at="2026-11-29T05:00:00+00:00",
    machine={"cpu": "a CPU", "cores": 2, "memory_bytes": 25_000 * MB},
    quantization="int8",
    hnsw_m=16,
    snapshot_rows_per_second=50_000,
    reader_base_bytes=50 * MB,
    embedding=Embedding("student", "native-int8: fastest", 2, 1_000.0, 600.0, (0.5, 0.5, 1.0, 1.0, 1.5, 1.5)),
    trials=(trial(20_000), trial(60_000)),
    sync=Sync(points=60_000, changed=600, copy_seconds=1.0, finish_seconds=2.0),
)


def planned(**changes: Any) -> Any:
    wanted = Wanted(keyphrases=1_000_000, dimension=100, node_memory_bytes=64_000 * MB)
    return plan_capacity(replace(wanted, **changes), FIGURES)


class TestSizes:
    def test_a_collection_of_the_measured_kind(self) -> None:
        capacity = planned()
        assert {part.name: round(part.disk) for part in capacity.parts} == {
            "vectors": 400,
            "quantized": 104,
            "graph": 60,
            "payload": 150,
            "indexes": 200,
            "ids": 30,
        }
        # A million rows end with a flush: of the log a file and a half are left.
        assert capacity.disk_bytes == pytest.approx(1e6 * 944 + 1.5 * 2**25)
        assert planned(keyphrases=10_000).disk_bytes == pytest.approx(10_000 * (944 + 700))
        assert planned(keyphrases=60_000).disk_bytes == pytest.approx(60_000 * 944 + 60_000 * 700)
        assert planned(keyphrases=1_010_000).disk_bytes == pytest.approx(1_010_000 * 944 + 1.5 * 2**25 + 7e6)
        # 52 of the 256 own bytes beside the quantized vectors are an id, the others are indexes.
        assert {part.name: round(part.memory) for part in capacity.parts} == {
            "vectors": 0,
            "quantized": 104,
            "graph": 60,
            "payload": 0,
            "indexes": 200,
            "ids": 52,
        }
        assert capacity.memory_bytes == pytest.approx((60 + 16) * MB + 1e6 * (104 + 60 + 200 + 52))
        assert capacity.builder_bytes == pytest.approx(20 * MB + 1e6 * 150)

    def test_another_dimension_and_quantization(self) -> None:
        sizes = {part.name: part for part in planned(dimension=384, quantization="turbo4", hnsw_m=32).parts}
        assert sizes["vectors"].disk == 1_536
        assert sizes["quantized"].disk == pytest.approx(384 / 2 + 12)
        assert sizes["graph"].disk == pytest.approx(120)
        assert sizes["payload"].disk == pytest.approx(150)

    def test_without_quantization_vectors_are_in_memory(self) -> None:
        sizes = {part.name: part for part in planned(quantization="none").parts}
        assert (sizes["vectors"].tier, sizes["vectors"].memory, sizes["quantized"].disk) == ("cached", 400, 0)

    def test_placement(self) -> None:
        sizes = {part.name: part for part in planned(placement={"vectors": "cached", "graph": "cold"}).parts}
        assert (sizes["vectors"].memory, sizes["graph"].memory) == (400, 0)

    def test_generations_embedded(self) -> None:
        capacity = planned()
        assert capacity.steady == {"disk": 2 * capacity.disk_bytes, "memory": capacity.memory_bytes}
        peak = FIGURES.trials[1].peak_disk_bytes / sum(FIGURES.trials[1].disk.values())
        assert capacity.rebuild["disk"] == pytest.approx((2 + peak) * capacity.disk_bytes)
        assert capacity.rebuild["memory"] == capacity.memory_bytes + capacity.builder_bytes
        assert capacity.node_memory_bytes == capacity.rebuild["memory"] * HEADROOM

    def test_nodes_and_shards(self) -> None:
        capacity = planned(engine="server", keyphrases=1_000_000_000, replicas=2)
        # Live, kept for a rollback and new, twice each.
        assert capacity.rebuild["memory"] == pytest.approx(6 * capacity.memory_bytes)
        assert capacity.nodes == math.ceil(capacity.rebuild["memory"] * HEADROOM / (64_000 * MB))
        assert (capacity.shards, capacity.keyphrases_per_shard) == (
            2 * capacity.nodes,
            math.ceil(1e9 / (2 * capacity.nodes)),
        )
        assert planned(engine="server", replicas=3).nodes == 3
        assert planned(engine="server", shards=7).shards == 7
        by_disk = planned(engine="server", node_disk_bytes=1_000 * MB)
        assert by_disk.nodes == math.ceil(by_disk.rebuild["disk"] * HEADROOM / (1_000 * MB))


class TestTimes:
    def test_of_a_rebuild(self) -> None:
        capacity = planned(engine="server", workers=4)
        # A second and a half per thousand at the longest, on average one.
        assert capacity.worker_seconds == pytest.approx(1_000, rel=0.02)
        assert 250 <= capacity.seconds["embed and write"] <= 270
        assert capacity.seconds["snapshot"] == 20
        assert planned().seconds["optimise"] == pytest.approx(1e6 * math.log(1e6) / 1e4)

    def test_where_writing_is_slower_than_embedding(self) -> None:
        fast = replace(FIGURES.embedding, seconds_per_thousand=(0.001,) * 10)
        wanted = Wanted(keyphrases=1_000_000, dimension=100, node_memory_bytes=1)
        assert plan_capacity(wanted, replace(FIGURES, embedding=fast)).worker_seconds == pytest.approx(100)

    def test_kills_cost_what_was_begun(self) -> None:
        calm, killed = planned(engine="server", workers=4), planned(engine="server", workers=4, kills=2)
        assert killed.played.redone == 2
        assert killed.seconds["embed and write"] > calm.seconds["embed and write"]

    def test_of_a_sync(self) -> None:
        assert planned().sync_seconds == {}
        assert planned(changed_per_day=10_000).sync_seconds == pytest.approx(
            {"snapshot": 20, "embed": 10, "copy": 1e6 / 6e4, "write and index": 2 * 10_000 / 600}
        )
        server = planned(engine="server", changed_per_day=10_000, replicas=2).sync_seconds
        assert server.keys() == {"snapshot", "embed", "write and index"}

    def test_fewer_keyphrases_than_a_part(self) -> None:
        assert planned(keyphrases=1).seconds["embed and write"] > 0


class TestWanted:
    def test_settings_and_options(self) -> None:
        settings = load_settings(quantization="turbo4", replicas=2, shards=4, engine="server", part_rows=500)
        wanted = wanted_of(settings, 10, 384, node_memory_bytes=1, shards=None, workers=3)
        assert (wanted.quantization, wanted.replicas, wanted.shards, wanted.workers) == ("turbo4", 2, 4, 3)
        assert wanted.part_rows == 500

    @pytest.mark.parametrize("options", [{"shards": 2}, {"replicas": 2}, {"workers": 2}])
    def test_what_the_embedded_engine_cannot_do(self, options: dict[str, int]) -> None:
        with pytest.raises(SettingsError, match=f"{next(iter(options))} is 2, and the embedded engine"):
            wanted_of(load_settings(), 10, 384, node_memory_bytes=1, **options)


class TestFigures:
    def test_they_are_read_as_they_were_written(self, tmp_path: Path) -> None:
        write_figures(tmp_path / "home" / "figures.json", FIGURES)
        assert read_figures(tmp_path / "home" / "figures.json") == FIGURES

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            (lambda values: values.pop("sync"), "holds no figures: sync"),
            (lambda values: values.update(trials=values["trials"][:1]), "no two trials"),
            (lambda values: values.update(trials=[values["trials"][1], values["trials"][0]]), "no two trials"),
            (lambda values: values["trials"][0].update(points="many"), "holds no figures: trials.0.points"),
            (lambda values: values.update(format=99), "was written by"),
        ],
    )
    def test_others_are_refused(self, tmp_path: Path, change: Any, problem: str) -> None:
        file = tmp_path / "figures.json"
        write_figures(file, FIGURES)
        values = json.loads(file.read_text())
        change(values)
        file.write_text(json.dumps(values))
        with pytest.raises(InputError, match=problem) as caught:
            read_figures(file)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("text", ["", "[]", "{}", "{"])
    def test_files_of_something_else(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "figures.json").write_text(text)
        with pytest.raises(InputError, match="keydistill bench"):
            read_figures(tmp_path / "figures.json")
        with pytest.raises(InputError, match="keydistill bench"):
            read_figures(tmp_path / "missing.json")

    def test_those_that_come_along_say_where_they_are_from(self) -> None:
        figures = default_figures()
        assert figures.machine["cores"] >= 1
        assert figures.trials[-1].points >= 60_000
