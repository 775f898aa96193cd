"""A module that is found by the packages' empty __init__.py."""


def of(whom):
    return "greetings from " + whom
