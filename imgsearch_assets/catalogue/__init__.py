"""The retailer's table of products: where it lies, what its rows must hold, what is kept of one look at it,
and what that look changes in what is live. The stock feed reads the same table, from minute to minute.
"""
