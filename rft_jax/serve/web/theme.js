// Runs before the first paint: the visitor's choice of light or dark, where they made one.

if (localStorage['rft.theme']) document.documentElement.dataset.theme = localStorage['rft.theme']
