// Package browser tests in headless Chromium what people look at in a browser: the
// page /docs, the page of a campaign and its report. It is a module of its own, so
// that the browser driver is never a dependency of the product.
package browser
