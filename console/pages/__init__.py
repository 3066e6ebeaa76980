"""The pages for people: one router a page, server-rendered, with htmx for what changes by itself."""
