"""How good models are: recall, precision and boxes on a data set, the page of the worst queries, and
recall as a shopper has it, asked through the HTTP API.
"""
