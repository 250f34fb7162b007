// Package browser tests the page /docs in headless Chromium. It is a module of
// its own, so that what drives the browser never enters the product.
package browser
