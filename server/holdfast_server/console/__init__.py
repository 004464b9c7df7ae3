"""The console: pages for a browser, made by this server from what the API answers to the caller of the page.

It is a client of a Holdfast server, or of a folder, like any other, and uses nothing of the server's own packages. Each
caller has a client with the caller's own token, so that a page shows what the caller may see. It needs
`holdfast-server[console]`. Only `settings` and `links` can be imported without it.
"""
