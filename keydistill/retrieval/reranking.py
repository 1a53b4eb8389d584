"""The assistant as it reranks lists."""

from keydistill.errors import SettingsError
from keydistill.retrieval.lists import Reranker
from keydistill.settings import Settings


def reranker_of(settings: Settings) -> Reranker:
    """The assistant that the settings name, loaded.

    Raises:
        SettingsError: They name none.
        AssistantError: It cannot be loaded.
    """
    from keydistill.distillation.registry import resolve_assistant
    from keydistill.encoders import Assistant

    source = resolve_assistant(settings)
    if source is None:
        raise SettingsError("reranking needs an assistant; give --assistant, or set KEYDISTILL_ASSISTANT")
    return Assistant.load(source, threads=settings.threads)
