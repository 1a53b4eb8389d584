"""The page of the service: for people who look at keyphrases, compare generations, and judge."""

from keydistill.serve.page.page import Page
from keydistill.serve.page.routes import add_page

__all__ = ["Page", "add_page"]
