package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// downward lists the variables that pod specs commonly fill from the downward API, the preferred one first.
var downward = []struct {
	key       attribute.Key
	variables []string
}{
	{semconv.K8SClusterNameKey, []string{"K8S_CLUSTER_NAME", "CLUSTER_NAME"}},
	{semconv.K8SNodeNameKey, []string{"K8S_NODE_NAME", "NODE_NAME"}},
	{semconv.K8SNamespaceNameKey, []string{"K8S_NAMESPACE_NAME", "K8S_NAMESPACE", "POD_NAMESPACE"}},
	{semconv.K8SPodNameKey, []string{"K8S_POD_NAME", "POD_NAME"}},
	{semconv.K8SPodUIDKey, []string{"K8S_POD_UID", "POD_UID"}},
	{semconv.K8SPodIPKey, []string{"K8S_POD_IP", "POD_IP"}},
	{semconv.K8SContainerNameKey, []string{"K8S_CONTAINER_NAME", "CONTAINER_NAME"}},
}

// describe returns the resource: slipway, its process, the pod as far as the environment tells, and over all of it
// OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME. The arguments of the process are left out, since a secret may be
// among a child's.
func describe(ctx context.Context, options Options) *resource.Resource {
	attributes := []attribute.KeyValue{semconv.ServiceName(root)}
	if options.Version != "" {
		attributes = append(attributes, semconv.ServiceVersion(options.Version))
	}
	for _, d := range downward {
		for _, name := range d.variables {
			if value := options.Getenv(name); value != "" {
				attributes = append(attributes, d.key.String(value))
				break
			}
		}
	}
	described, err := resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithProcessPID(),
		resource.WithProcessExecutableName(),
		resource.WithProcessExecutablePath(),
		resource.WithProcessRuntimeName(),
		resource.WithProcessRuntimeVersion(),
		resource.WithAttributes(attributes...),
		resource.WithFromEnv(),
	)
	if err != nil {
		// What could be read is there all the same. The error may quote the attributes, so it is not told.
		options.Log.Debug("the resource of the traces is not complete")
	}
	return described
}
