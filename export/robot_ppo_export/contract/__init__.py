"""The contract: the assumptions of a policy, in code that training and the node share.

Import order, one way: frames -> spec -> state -> terms -> layout -> action -> contract.
"""
