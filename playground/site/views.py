"""What the site answers to each request."""

import re
from urllib.parse import quote

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from playground import csrf
from playground.accounts import ACCOUNTS, Account
from playground.models import COMMENT_STATUSES, Article
from playground.site import pages
from playground.site.richtext import is_empty
from playground.store import Store
from playground.traffic import Traffic

SESSION_COOKIE = "sessionid"
LOGIN_PATH = "/accounts/login/"
_TWO_WEEKS = 14 * 24 * 3600


class Site:
    """The pages over one store."""

    def __init__(self, store: Store, traffic: Traffic) -> None:
        self.store = store
        self.traffic = traffic
        self._cards = pages.Cards(store.tabs)

    def routes(self) -> list[Route]:
        return [
            Route("/", self.home),
            Route(LOGIN_PATH, self.login, methods=["GET", "POST"]),
            Route("/accounts/logout/", self.logout, methods=["POST"]),
            Route("/articles/", self.index),
            Route("/article/{article_id:int}/", self.article),
            Route("/article/{article_id:int}/comment/", self.create_comment, methods=["POST"]),
            Route("/comment/{comment_id:int}/", self.comment),
        ]

    async def login(self, request: Request) -> Response:
        if request.method != "POST":
            return self._login_page(request, request.query_params.get("next", ""))
        form = await self._checked_form(request)
        username, target = _field(form, "username"), _field(form, "next")
        account = ACCOUNTS.get(username)
        if account is None or account.password != _field(form, "password"):
            self.traffic.happened("failed_log_in", username)
            problem = "Bitte einen gültigen Benutzernamen und das passende Passwort eingeben."
            return self._login_page(request, target, username, problem)
        self.traffic.happened("log_in", username)
        response = self._redirect(request, target if _is_local(target) else "/")
        session = self.store.log_in(username)
        _set_cookie(response, SESSION_COOKIE, session.token, http_only=True)
        # As Django does: a secret from before the log-in is worth nothing after it.
        _set_cookie(response, csrf.COOKIE, csrf.new_secret())
        return response

    async def logout(self, request: Request) -> Response:
        await self._checked_form(request)
        self.store.log_out(request.cookies.get(SESSION_COOKIE, ""))
        response = self._redirect(request, LOGIN_PATH)
        response.delete_cookie(SESSION_COOKIE)
        return response

    async def home(self, request: Request) -> Response:
        account = self._account(request)
        if account is None:
            return self._to_login(request)
        secret = _csrf_secret(request)
        return _page(request, pages.render("home.html", account=account, csrf_token=csrf.mask(secret)), secret)

    async def index(self, request: Request) -> Response:
        account = self._account(request)
        if account is None:
            return self._to_login(request)
        asked = request.query_params
        active = asked.get("tab") or "home"
        category, task = _number(asked.get("kategorie")), _number(asked.get("aufgabe"))
        panes = self._panes(account, active, category, task)
        return HTMLResponse(pages.index(account, panes, active, category, task))

    async def article(self, request: Request) -> Response:
        account = self._account(request)
        if account is None:
            return self._to_login(request)
        return self._article_page(request, account, self._article(request))

    async def create_comment(self, request: Request) -> Response:
        form = await self._checked_form(request)
        account = self._account(request)
        if account is None:
            return self._to_login(request)
        article = self._article(request)
        text, status = _field(form, "text"), _number(_field(form, "status"))
        if is_empty(text):
            return self._article_page(request, account, article, "Bitte einen Text schreiben.")
        if status not in COMMENT_STATUSES:
            return self._article_page(request, account, article, "Bitte einen gültigen Status wählen.")
        hidden, highlight = _field(form, "hide") == "on", _field(form, "highlight")
        self.store.add_comment(article.id, account.username, text, status, hidden, highlight)
        self.traffic.happened("comment", account.username)
        return self._redirect(request, f"/article/{article.id}/")

    async def comment(self, request: Request) -> Response:
        account = self._account(request)
        if account is None:
            return self._to_login(request)
        comment = self.store.comments.get(request.path_params["comment_id"])
        if comment is None or comment.author != account.username:
            raise HTTPException(404)
        return HTMLResponse(pages.render("comment.html", account=account, comment=comment))

    def _account(self, request: Request) -> Account | None:
        username = self.store.username(request.cookies.get(SESSION_COOKIE, ""))
        return ACCOUNTS.get(username) if username else None

    def _article(self, request: Request) -> Article:
        self.store.release_due()
        article = self.store.articles.get(request.path_params["article_id"])
        if article is None:
            raise HTTPException(404)
        return article

    def _panes(self, account: Account, asked: str, category: int | None, task: int | None) -> list[pages.Pane]:
        newest_first = list(self.store.visible_articles())[::-1]
        by_tab: dict[str, list[Article]] = {"home": [], "alle": newest_first}
        by_tab |= {str(tab): [] for tab in self.store.tabs}
        for article in newest_first:
            by_tab[str(article.tab)].append(article)
            if article.text.author.lower() == account.username:
                by_tab["home"].append(article)
        if asked in by_tab:
            by_tab[asked] = [article for article in by_tab[asked] if _is_of(article, category, task)]
        names = {"home": "Meine", "alle": "Alle"} | {str(tab): name for tab, name in self.store.tabs.items()}
        return [
            pages.Pane(tab, names[tab], self._cards.pane(account.role, articles)) for tab, articles in by_tab.items()
        ]

    def _article_page(self, request: Request, account: Account, article: Article, problem: str = "") -> Response:
        secret = _csrf_secret(request)
        comments = self.store.comments_for(article.id, account.username)
        tab = self.store.tabs[article.tab]
        body = pages.article(account, article, tab, comments, csrf.mask(secret), problem)
        return _page(request, body, secret)

    def _login_page(self, request: Request, target: str, username: str = "", problem: str = "") -> Response:
        secret = _csrf_secret(request)
        values = {"next": target, "username": username, "problem": problem}
        return _page(request, pages.render("login.html", csrf_token=csrf.mask(secret), **values), secret)

    async def _checked_form(self, request: Request) -> FormData:
        form = await request.form()
        if not csrf.matches(request.cookies.get(csrf.COOKIE, ""), _field(form, csrf.FIELD)):
            raise HTTPException(403)
        return form

    def _to_login(self, request: Request) -> Response:
        here = request.url.path if request.method != "POST" else "/"
        return self._redirect(request, f"{LOGIN_PATH}?next={quote(here)}")

    def _redirect(self, request: Request, path: str) -> Response:
        location = path
        if self.store.config.backslash_redirects:
            location = f"http://{request.url.netloc}\\{path.removeprefix('/')}"
        # Not RedirectResponse: it would quote the backslash.
        return Response(status_code=302, headers={"location": location})


def _page(request: Request, body: str, secret: str) -> Response:
    response = HTMLResponse(body)
    if request.cookies.get(csrf.COOKIE) != secret:
        _set_cookie(response, csrf.COOKIE, secret)
    return response


def _csrf_secret(request: Request) -> str:
    secret = request.cookies.get(csrf.COOKIE, "")
    return secret if csrf.is_secret(secret) else csrf.new_secret()


def _set_cookie(response: Response, name: str, value: str, *, http_only: bool = False) -> None:
    response.set_cookie(name, value, max_age=_TWO_WEEKS, httponly=http_only, samesite="lax")


def _field(form: FormData, name: str) -> str:
    value = form.get(name, "")
    return value if isinstance(value, str) else ""


def _number(value: str | None) -> int | None:
    return int(value) if value and re.fullmatch(r"[0-9]{1,9}", value) else None


def _is_of(article: Article, category: int | None, task: int | None) -> bool:
    return category in (None, article.text.category) and task in (None, article.text.task)


def _is_local(target: str) -> bool:
    return re.fullmatch(r"/(?!/)[!-\[\]-~]*", target) is not None
