// Package browser tests the page /docs in headless Chromium. It is a module of
// its own, so that the browser driver is never a dependency of the product.
package browser
