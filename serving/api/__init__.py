"""The HTTP front: a picture, a URL or a product in, products out; and the page that shoppers see."""
