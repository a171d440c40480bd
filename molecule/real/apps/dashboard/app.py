"""A dashboard with Dash, as in its first tutorial: a graph that a dropdown changes."""

from __future__ import annotations

from typing import Any

from dash import Dash, Input, Output, callback, dcc, html

SALES = {"north": [3, 1, 4], "south": [1, 5, 9]}

app = Dash(__name__, title="Sales")
app.layout = html.Div([
    html.H1("Sales"),
    dcc.Dropdown(list(SALES), "north", id="region"),
    dcc.Graph(id="graph"),
])  # fmt: skip


@callback(Output("graph", "figure"), Input("region", "value"))
def draw(region: str) -> dict[str, Any]:
    """Draw the sales of a region."""
    return {"data": [{"type": "bar", "x": ["a", "b", "c"], "y": SALES[region]}], "layout": {"title": {"text": region}}}


if __name__ == "__main__":
    app.run()
