"""`weft doctor`: looks at everything that Weft needs, and says what to do about what is wrong.

A check is an async function that is given the settings and returns findings; `examination` lists them all. None of them
changes anything, costs anything, or waits for long.
"""
