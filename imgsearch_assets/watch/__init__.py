"""What is wrong now: how every asset stands, how old what shoppers see may be, and the sensor that hands
both to ``alerting``.
"""
