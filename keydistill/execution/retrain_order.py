"""The order of a retrain: checked, kept in the run's record, and turned into inputs, recipe and judge."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field

from keydistill.distillation import ShapeName
from keydistill.distillation.losses import LossName
from keydistill.errors import InputError, SettingsError, StudentError
from keydistill.execution.judge_choice import check_judge, is_trusted
from keydistill.execution.orders import Order
from keydistill.masking import shown_address
from keydistill.settings import Settings

if TYPE_CHECKING:
    from keydistill.distillation.retrain import RetrainInputs, RetrainRecipe
    from keydistill.distillation.signals import SignalFiles

OWN_JUDGMENTS = "no judge is named: the judgments that are there are the judge, and no further pair is judged"


class RetrainOrder(Order):
    """The options of `keydistill retrain`; None leaves a choice to the recipe. Keys of judges stay in the settings."""

    kind: ClassVar[str] = "retrain"

    signals: Path
    judgments: Path | None = None
    inventory: tuple[Path, ...] = ()
    labels: Path | None = None
    local: Path | None = None
    simulation: Path | None = None
    endpoint: str | None = None
    model: str | None = None
    prompt: Path | None = None
    judged_pairs: int | None = Field(default=None, ge=1)
    budget_tokens: int | None = Field(default=None, ge=0)
    mined_items: int | None = Field(default=None, ge=1)
    assistant_size: str | None = None
    assistant_epochs: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    assistant_folds: int | None = Field(default=None, ge=0)
    negative_margin: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    shape: ShapeName | None = None
    layers: int | None = Field(default=None, ge=1)
    item_text: str | None = None
    epochs: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    distillation_loss: LossName | None = None
    judgments_loss: LossName | None = None
    hard_negatives: int | None = Field(default=None, ge=0)
    clicks_share: float | None = Field(default=None, ge=0, lt=1)
    int8: bool | None = None
    held_out: float | None = Field(default=None, ge=0, le=0.5, allow_inf_nan=False)
    trust_assistant: str | None = None
    seed: int = 0
    seeds: int | None = Field(default=None, ge=1)
    promote: bool = False
    promote_worse: str | None = None
    # Whether the judgments that are there are the judge: chosen where none is named, and kept in the record.
    own_judgments: bool = False

    def absolute(self) -> Self:
        """The same order with absolute paths, which can be carried out from any folder."""
        paths = {
            name: value.absolute() for name in type(self).model_fields if isinstance(value := getattr(self, name), Path)
        }
        return self.model_copy(update={**paths, "inventory": tuple(path.absolute() for path in self.inventory)})

    def with_judge_of(self, settings: Settings) -> Self:
        """The same order with the judge of the settings where it names none, so that all machines use the same one.

        A stage is done again where another judge is asked for, and the machines' settings may differ. Where nobody
        names a judge, judgments that are there are the judge.
        """
        if self.labels or self.simulation or self.own_judgments:
            return self
        is_named = any((self.local, self.endpoint, self.model, self.prompt, settings.judge_url))
        if not is_named and self.files().judgments:
            return self.model_copy(update={"own_judgments": True})
        chosen: dict[str, Any] = {"prompt": self.prompt or settings.judge_prompt}
        if not self.local:
            chosen |= {"endpoint": self.endpoint or settings.judge_url, "model": self.model or settings.judge_model}
        return self.model_copy(update=chosen)

    def check_message(self, settings: Settings) -> None:
        """See that an order which came by message names only what the settings allow.

        Raises:
            InputError: It names an endpoint, a file or a folder that they do not.
        """
        super().check_message(settings)
        if self.endpoint is not None and not is_trusted(settings, self.endpoint):
            raise InputError(
                f"{self.kind}: {shown_address(self.endpoint)} is no endpoint that orders by message may name; "
                "add it to the setting judge_endpoints, or leave it out"
            )

    def check(self, settings: Settings) -> None:
        """Check that the files are there and the names are known, before there is a run.

        Raises:
            InputError: A file or folder is missing.
            SettingsError: There is no judge, or there are several, or the endpoint is malformed; or a reason is given
                for a promotion that is not ordered, or is empty.
            TrainingError: The recipe cannot be followed, as with an assistant of unknown size.
        """
        self.recipe()
        if self.promote_worse is not None and not (self.promote and self.promote_worse.strip()):
            raise SettingsError(
                "--promote-worse gives a reason for --promote; give both, and say why a student that is clearly worse "
                "is to be promoted"
            )
        self.files()
        for path in (self.judgments, *self.inventory, self.labels, self.local, self.simulation, self.prompt):
            if path is not None and not path.exists():
                raise InputError(f"{path} is not there; name a file or folder that the workers of queue train can read")
        if not self.own_judgments:
            check_judge(settings, self.model_dump())

    def files(self) -> "SignalFiles":
        """The files of the signals, with those of the judgments that people gave.

        Raises:
            InputError: The folder is missing, or has no items.
        """
        from keydistill.distillation.signals import SignalFiles

        if not self.signals.is_dir():
            raise InputError(f"{self.signals} is no folder; name one that `keydistill signals import` wrote")
        signals = SignalFiles.of_folder(self.signals)
        if not signals.items:
            raise InputError(f"{self.signals} has no items.parquet; a student reads titles: add the items")
        if self.judgments is None:
            return signals
        given = SignalFiles.of_folder(self.judgments)
        # The last row counts: people over the judge, and the items of the signals over what somebody pasted.
        return replace(signals, items=[*given.items, *signals.items], judgments=[*signals.judgments, *given.judgments])

    def recipe(self) -> "RetrainRecipe":
        """The recipe of the retrain: the defaults, with the options of the order on top."""
        from keydistill.distillation.retrain import RetrainRecipe
        from keydistill.distillation.student import default_weights

        base = RetrainRecipe(seed=self.seed)
        options = {name: value for name, value in self.model_dump().items() if value is not None}

        def chosen(**names: str) -> dict[str, Any]:
            return {field: options[option] for field, option in names.items() if option in options}

        return replace(
            base,
            mining=replace(base.mining, **chosen(items="mined_items", margin="negative_margin", seed="seed")),
            assistant=replace(
                base.assistant,
                **chosen(size="assistant_size", epochs="assistant_epochs", folds="assistant_folds", seed="seed"),
            ),
            student=replace(
                base.student,
                weights=default_weights(graded="judgments_loss" in options),
                **chosen(
                    shape="shape",
                    layers="layers",
                    item_text="item_text",
                    epochs="epochs",
                    distillation_loss="distillation_loss",
                    judgments_loss="judgments_loss",
                    hard_negatives="hard_negatives",
                    clicks_share="clicks_share",
                    int8="int8",
                    seeds="seeds",
                    seed="seed",
                ),
            ),
            **chosen(
                judged_pairs="judged_pairs",
                budget_tokens="budget_tokens",
                held_out="held_out",
                trust_assistant="trust_assistant",
            ),
        )

    def inputs(
        self, settings: Settings, warn: Callable[[str], object], present_student: str | None = None
    ) -> "RetrainInputs":
        """The tables that the models learn from; `warn` is called with a sentence on rows that cannot be used.

        Raises:
            InputError: A file cannot be read, too many of its rows cannot be used, or the items lack a field that the
                new student is to read; those that the present one reads may be missing.
        """
        from keydistill.distillation.retrain import RetrainInputs
        from keydistill.distillation.signals import load_clicks, load_items, load_judgments, load_search_relevance
        from keydistill.encoders import ItemText, item_fields_of
        from keydistill.ingest.snapshot import read_inventory, read_table

        signals = self.files()
        fields = ItemText(self.recipe().student.item_text).free_fields
        present: tuple[str, ...] = ()
        # Whoever judges or mines nothing may lack the present student; whoever needs it says so when it is loaded.
        with suppress(StudentError):
            present = () if present_student is None else item_fields_of(present_student)
        load = partial(load_items, fields=fields, optional_fields=present)
        keyphrases = [*self.inventory] or [self.signals / "inventory.parquet"]
        loaders = {"clicks": load_clicks, "search_relevance": load_search_relevance, "judgments": load_judgments}
        files = {name: [*getattr(signals, name)] for name in loaders}
        return RetrainInputs(
            items=read_table("items", signals.items, settings, load, warn),
            inventory=read_inventory(keyphrases, settings),
            **{
                name: read_table(
                    name.replace("_", " "),
                    paths,
                    settings,
                    partial(loaders[name], max_keyphrase_chars=settings.max_keyphrase_chars),
                    warn,
                )
                for name, paths in files.items()
                if paths
            },
            files={"items": [*signals.items], "inventory": keyphrases, **files},
        )
