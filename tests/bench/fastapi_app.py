"""What FastAPI is asked for; see web.py."""

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

app = FastAPI()


def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


@app.get("/ping", response_class=PlainTextResponse)
async def ping():
    return "pong\n"


@app.get("/fib/{n}")
def answer_fib(n: int):
    return {"result": fib(n)}
