// Package dashboards tests what an operator watches Earlybird with: the Grafana
// dashboards in this folder, and deploy/alerts.yml with Prometheus' own promtool. It
// is a module of its own, so that Prometheus is never a dependency of the product.
package dashboards
