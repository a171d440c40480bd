"""Tests of each application: logging in, sending a form or a file, reading it back, receiving a stream.

Each function runs after the first deploy (``visitor.new``) and again after every further one: the data written
before must still be there.
"""

from __future__ import annotations

import itertools
import re
import time

from tests.support.real.visitor import SocketIO, SocketIOWebSocket, Visitor

EVENT = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:test\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTAMP:20260101T000000Z\r\n"
    "DTSTART:20260101T000000Z\r\nSUMMARY:New year\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)
PICTURE = bytes(range(256)) * 8192


def isso(visitor: Visitor) -> None:
    """Comment, change the comment by its cookie, log in as the administrator."""
    comment = {"text": "Hello *you*", "author": "Ann", "title": "A page"}
    made = visitor.post("/new?uri=%2Fpage", 201, json=comment)
    assert made.json()["text"] == "<p>Hello <em>you</em></p>"
    number = made.json()["id"]
    changed = visitor.ask("PUT", f"/id/{number}", json={"text": "Hello **all**"})
    assert changed.json()["text"] == "<p>Hello <strong>all</strong></p>"
    texts = [each["text"] for each in visitor.get("/?uri=%2Fpage").json()["replies"]]
    assert "<p>Hello <strong>all</strong></p>" in texts and (visitor.new or len(texts) > 1)
    assert visitor.get("/js/embed.min.js").headers["Content-Type"].startswith("text/javascript")
    visitor.post("/login/", 302, data={"password": "of-the-admin"})
    assert "A page" in visitor.get("/admin/?mode=1").text


def radicale(visitor: Visitor) -> None:
    """Create a calendar, put an event into it, find it, and check that others cannot see it."""
    ann = ("ann", "of-ann")
    visitor.get("/ann/", 401)
    assert "Radicale" in visitor.get("/.web/").text
    if visitor.new:
        visitor.ask("MKCALENDAR", "/ann/work/", 201, auth=ann)
    visitor.ask("PUT", "/ann/work/1.ics", 201 if visitor.new else 204, data=EVENT, auth=ann)
    assert "SUMMARY:New year" in visitor.get("/ann/work/1.ics", auth=ann).text
    assert "/ann/work/1.ics" in visitor.ask("PROPFIND", "/ann/work/", 207, headers={"Depth": "1"}, auth=ann).text
    visitor.get("/ann/work/1.ics", 403, auth=("bob", "of-bob"))


def moin(visitor: Visitor) -> None:
    """Log in, write a page, find it in its history."""
    visitor.form("/+login", {"login_username": "Ann", "login_password": "Keys-4-the-wiki"})
    assert "Ann" in visitor.get("/Home").text
    page = f"Page{time.monotonic_ns()}"
    modify = f"/+modify/{page}?itemtype=default&contenttype=text/x.moin.wiki;charset=utf-8&template="
    visitor.form(modify, {"content_form_data_text": "Hello ''you''.", "comment": "first"})
    assert "Hello <em>you</em>" in visitor.get(f"/{page}").text
    assert page in visitor.get(f"/+history/{page}").text
    assert visitor.get("/static/css/common.css").headers["Content-Type"].startswith("text/css")


def dash(visitor: Visitor) -> None:
    """Load the page, its style and its components, and change the graph."""
    page = visitor.get("/").text
    assert "<title>Sales</title>" in page
    (style,) = re.findall(r'href="(/assets/style\.css[^"]*)"', page)
    assert "sans-serif" in visitor.get(style).text
    for script in re.findall(r'src="(/_dash-component-suites/[^"]+)"', page):
        visitor.get(script)
    assert "region" in visitor.get("/_dash-layout").text
    changed = visitor.post("/_dash-update-component", json={
        "output": "graph.figure",
        "outputs": {"id": "graph", "property": "figure"},
        "inputs": [{"id": "region", "property": "value", "value": "south"}],
        "changedPropIds": ["region.value"],
    })  # fmt: skip
    assert changed.json()["response"]["graph"]["figure"]["data"][0]["y"] == [1, 5, 9]


def diary(visitor: Visitor) -> None:
    """Register, log in, write an entry with a picture, and read them back."""
    ann = {"name": "Ann", "password": "of-Ann"}
    visitor.post("/write", 401, data={"title": "no", "body": "no"})
    visitor.post("/auth/register", 302 if visitor.new else 409, data=ann)
    visitor.post("/auth/login", 302, data=ann)
    entry = {"title": "A <day>", "body": "long"}
    visitor.post("/write", 302, data=entry, files={"picture": ("sun.bin", PICTURE)})
    page = visitor.get("/").text
    assert "Welcome back." in page and "A &lt;day&gt;" in page
    assert visitor.get("/pictures/sun.bin").content == PICTURE
    assert visitor.get("/export").text.splitlines().count("A <day>") > (0 if visitor.new else 1)
    assert "serif" in visitor.get("/static/style.css").text


def members(visitor: Visitor) -> None:
    """Register, log in, change the profile, log out."""
    ann = {"name": "Ann", "password": "of-Ann"}
    visitor.post("/register", 302 if visitor.new else 409, data=ann)
    visitor.get("/profile", 401)
    visitor.post("/login", 302, data=ann)
    assert visitor.get("/profile").text == ("Ann: " if visitor.new else "Ann: Über alles")
    assert visitor.post("/profile", data={"motto": "Über alles"}).text == "Ann: Über alles"
    assert "Ann: Über alles" in visitor.get("/").text
    assert visitor.get("/export").text == "Ann\n"
    visitor.post("/logout", 302)
    visitor.get("/profile", 401)


def office(visitor: Visitor) -> None:
    """Log into the admin, add a request with a note, see its style."""
    assert "body {" in visitor.get("/static/admin/css/base.css").text
    assert "sans-serif" in visitor.get("/static/leave/style.css").text
    visitor.form("/admin/login/?next=/admin/", {"username": "admin", "password": "of-the-admin"})
    assert "Site administration" in visitor.get("/admin/").text
    note = {"note": ("note.txt", PICTURE)}
    visitor.form("/admin/leave/request/add/", {"name": "Ann <3", "days": "5"}, files=note)
    assert "Ann &lt;3: 5" in visitor.get("/").text
    assert visitor.get("/export").text.splitlines().count("Ann <3: 5") > (0 if visitor.new else 1)


def mlflow(visitor: Visitor) -> None:
    """Create an experiment and a run, log a metric, store a file, and load the page."""
    api = "/api/2.0/mlflow"
    name = {"experiment_name": "first"}
    if visitor.new:
        visitor.post(f"{api}/experiments/create", json={"name": "first"})
    experiment = visitor.get(f"{api}/experiments/get-by-name", params=name).json()["experiment"]["experiment_id"]
    run = visitor.post(f"{api}/runs/create", json={"experiment_id": experiment}).json()["run"]["info"]["run_id"]
    visitor.post(f"{api}/runs/log-metric", json={"run_id": run, "key": "loss", "value": 0.5, "timestamp": 1})
    found = visitor.post(f"{api}/runs/search", json={"experiment_ids": [experiment]}).json()["runs"]
    assert {"key": "loss", "value": 0.5} in [
        {"key": metric["key"], "value": metric["value"]} for each in found for metric in each["data"].get("metrics", [])
    ]
    artifact = f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/model.bin"
    visitor.ask("PUT", artifact, data=PICTURE)
    assert visitor.get(artifact).content == PICTURE
    page = visitor.get("/").text
    (script,) = re.findall(r'src="(static-files/static/js/main[^"]+)"', page)
    visitor.get(f"/{script}")


def chat(visitor: Visitor) -> None:
    """Chat in a room: a polling client and one with a WebSocket receive each other's messages."""
    assert "<h1>Chat</h1>" in visitor.get("/").text
    ann, bob = SocketIO(visitor), SocketIOWebSocket(visitor)
    for each in (ann, bob):
        each.emit("join", {"room": "tea"})
        assert each.event()[0] == "joined"
    ann.emit("say", {"room": "tea", "text": "milk?"})
    assert [each.event() for each in (ann, bob)] == [["said", {"text": "milk?"}]] * 2
    bob.emit("say", {"room": "tea", "text": "a cloud"})
    assert [each.event() for each in (ann, bob)] == [["said", {"text": "a cloud"}]] * 2


def jobs(visitor: Visitor) -> None:
    """Check that the job runs once each second, in one process only."""
    deadline = time.monotonic() + 60
    before = visitor.get("/").json()["count"]
    while (page := visitor.get("/").json())["count"] < before + 4:
        assert time.monotonic() < deadline, f"the job does not run: {page}"
        time.sleep(0.2)
    assert len({pid for _, pid in page["last"][-3:]}) == 1
    # The runs of all generations so far: two run at the same time during a swap.
    gaps = [float(later) - float(at) for (at, _), (later, _) in itertools.pairwise(page["last"])]
    assert min(gaps) > 0.5, f"it ran twice: {page}"


def press(visitor: Visitor) -> None:
    """Store an article, show it, and find the installed metadata of the project."""
    assert visitor.get("/").json() == {"version": "1.2.0", "commands": ["press:main"]}
    if not visitor.new:
        assert visitor.get("/articles/first").text == "<h1>Über <em>uns</em></h1>"
    visitor.post("/articles/first", 201, data="# Über *uns*".encode())
    assert visitor.get("/articles/first").text == "<h1>Über <em>uns</em></h1>"
    assert visitor.get("/stream", stream=True).text == "0\n1\n2\n3\n4\n"


def harbour(visitor: Visitor) -> None:
    """Upload a list of ships, and find the name that was passed to the factory."""
    ships = [] if visitor.new else ["Argo", "Nautilus"]
    assert visitor.get("/").json() == {"harbour": "north", "ships": ships, "version": "0.3.0"}
    visitor.post("/manifest", 201, files={"manifest": ("ships.txt", "Argo\nNautilus\n")})
    assert visitor.get("/").json()["ships"] == ["Argo", "Nautilus"]
    assert "margin" in visitor.get("/static/style.css").text
