"""What a policy assumes; training and the node share every line of it.

Import order, one way: frames -> spec -> state -> terms -> layout -> action -> contract.
"""
