"""What the page's routes share while the application runs."""

from keydistill.serve.live import Live
from keydistill.serve.page.compared import ComparedGeneration
from keydistill.serve.page.judgments import JudgmentFiles
from keydistill.settings import Settings


class Page:
    """The page's own parts: the generation that is compared with the live one, and the files of judgments."""

    def __init__(self, settings: Settings, live: Live) -> None:
        self.settings, self.live = settings, live
        self.compared = ComparedGeneration(live, settings.serve_compare_seconds)
        self.judgments = JudgmentFiles.of(settings)

    def close(self) -> None:
        """Let go of the compared generation."""
        self.compared.close()
