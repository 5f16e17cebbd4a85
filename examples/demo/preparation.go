package main

import (
	"fmt"
	"maps"
	"os"
	"strings"
	"text/template"
	"time"
)

// preparation is what the init containers of a node of a StatefulSet do, as one plan.
var preparation = scene{
	title: "A pod is prepared: four dependencies, a log folder, a configuration, a migration",
	servers: []server{
		{"database", database},
		{"log-aggregator", logAggregator},
		{"features", healthService},
		{"secret-store", secretStore},
	},
	args: func(s *stage) ([]string, error) {
		if err := writePlan(s); err != nil {
			return nil, err
		}
		return []string{"run", "plan.yaml"}, nil
	},
	show: func(s *stage, r result) (err error) {
		if err := s.drawFiles("pod"); err != nil {
			return err
		}
		config, err := os.ReadFile(s.path("pod/config/node.properties"))
		if err != nil {
			return err
		}
		s.say("\n%s", s.bold("pod/config/node.properties, rendered"))
		s.quote(string(config))
		if !strings.Contains(string(config), "node.id=2\n") {
			return fmt.Errorf("the configuration does not have the ordinal 2")
		}
		s.say("\n%s", s.bold("The termination message"))
		s.quote(r.report)
		if s.prepared, err = take(s.path("pod")); err != nil {
			return err
		}
		return s.drawTrace(r.spans)
	},
}

// again is the same plan once more, as after a restart of the pod's sandbox.
var again = scene{
	title: "The same again: what is right already is left alone",
	args:  func(*stage) ([]string, error) { return []string{"run", "plan.yaml"}, nil },
	show: func(s *stage, r result) error {
		now, err := take(s.path("pod"))
		if err != nil {
			return err
		}
		if !maps.Equal(now, s.prepared) {
			return fmt.Errorf("the second run changed the files: before %v, after %v", s.prepared, now)
		}
		s.say("%d files and folders, none of them touched.", len(now))
		if most := 5 * time.Second; r.elapsed > most {
			return fmt.Errorf("the second run took %s, over %s", r.elapsed, most)
		}
		return nil
	},
}

// plan is the plan, with relative paths so that it reads well; a pod would have absolute ones.
var plan = template.Must(template.New("plan.yaml").Parse(`deadline: 60s
steps:
- parallel:
  - wait-for:
      name: dependencies
      target:
      - {{index . "database"}}
      - {{index . "log-aggregator"}}
      - {{index . "features"}}
  - wait-for: {name: secret-store, target: "{{index . "secret-store"}}", ca-file: ca.pem, min-validity: 1h}
- mkdir: {path: [pod/config, pod/log/kafka]}
- parallel:
  - render: {template: node.properties.tmpl, dest: pod/config/node.properties}
  - write-file: {path: pod/config/password, from: "env:DB_PASSWORD", mode: "0400"}
  - touch: {path: pod/log/kafka/server.log}
- chmod: {mode: "u=rwX,g=rX,o=", path: pod/log, recursive: true}
- exec:
    name: migrate
    command: [sh, -c, 'echo "the migration is part of the trace: TRACEPARENT=$TRACEPARENT"']
`))

const nodeProperties = `node.id={{ ordinal }}
advertised.listeners=PLAINTEXT://{{ env "POD_NAME" }}.kafka:9092
controller.quorum.voters={{ range seq 0 2 }}{{ if . }},{{ end }}{{ . }}@kafka-{{ . }}.kafka:9093{{ end }}
`

// writePlan writes the plan and the template that it names, and shows the plan.
func writePlan(s *stage) error {
	if err := os.WriteFile(s.path("node.properties.tmpl"), []byte(nodeProperties), 0o644); err != nil {
		return err
	}
	var text strings.Builder
	if err := plan.Execute(&text, s.targets); err != nil {
		return err
	}
	s.say("\n%s", s.bold("plan.yaml"))
	s.quote(text.String())
	return os.WriteFile(s.path("plan.yaml"), []byte(text.String()), 0o644)
}
