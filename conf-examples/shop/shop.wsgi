"""An application that loads much when it is imported."""

PRODUCTS = {number: f"product {number}" for number in range(1000)}


def application(environ, start_response):
    if environ["PATH_INFO"] == "/health":
        body = b"ok\n"
    else:
        body = f"products: {len(PRODUCTS)}\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return [body]
