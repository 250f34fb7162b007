// Package helm tests the chart in the folder earlybird, and the values for Kong's
// own chart, with Helm's library and Kubernetes's types. It is a module of its own,
// so that neither is ever a dependency of the product.
package helm
