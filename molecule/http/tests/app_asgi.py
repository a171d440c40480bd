"""An ASGI application wrapped by a2wsgi as a WSGI application; it waits as ASGI applications do."""

import asyncio

import a2wsgi


async def api(scope, receive, send):
    await asyncio.sleep(0.1)
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": scope["path"].encode() + b" " + str(len(body)).encode()})


app = a2wsgi.ASGIMiddleware(api)
