"""The fleet: registry, private CA, broker, ingest, rollouts, update endpoint, API and web page.

`outpost.fleet.server.FleetServer` starts all of it in one process; every part also stands alone.
"""
