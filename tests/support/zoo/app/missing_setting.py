"""Needs a variable that nobody has set: it cannot be loaded, whichever the mode."""

import os

from flask import Flask

app = Flask(__name__)
app.secret_key = os.environ["SHOP_SECRET_KEY"]
