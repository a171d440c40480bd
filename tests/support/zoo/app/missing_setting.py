"""Needs a variable that is not set: it cannot be loaded in either mode."""

import os

from flask import Flask

app = Flask(__name__)
app.secret_key = os.environ["SHOP_SECRET_KEY"]
