package lookup

// Help is the part of a step's page of help about the stores, in Markdown.
const Help = `## Other stores

These functions read a value where it is kept. Each is read once however often the template names it, those that the
template is sure to need side by side, and a store that it does not name is not asked for anything.

| function | gives |
|---|---|
| awsSecret NAME | a secret of AWS Secrets Manager, by name or ARN |
| awsSecret NAME KEY | one key of a secret that is a JSON object |
| awsParameter NAME | a parameter of AWS Parameter Store, decrypted; NAME:3 is a version |
| awsParameters PATH | all parameters below a path, as tree gives keys |
| key PATH, consulKey | a key of Consul; PATH@dc2 asks another data centre |
| keyOrDefault PATH DEFAULT, consulKeyOr | the same with a default for one that is missing or empty |
| keyExists PATH, consulKeyExists | whether it is there |
| ls PATH, consulLs | the keys in a folder: range gives .Key, its name there, .Path, the whole name, and .Value |
| tree PATH, consulTree | the same with the keys in its folders |
| etcdKey KEY | a key of etcd v3 |
| etcdKeyOr KEY DEFAULT | the same with a default for one that is missing or empty |
| etcdTree PREFIX | the keys below PREFIX/, as tree gives them |

    password = {{ awsSecret "prod/db" "password" | quote }}
    port = {{ keyOrDefault "app/port" "8080" }}
    {{ range ls "app/limits" }}{{ .Key }} = {{ .Value }}
    {{ end }}

Where a store is, and who asks, stands in its own tools' variables:

| store | variables |
|---|---|
| AWS | AWS_REGION, AWS_ENDPOINT_URL (and its form for one service), AWS_CA_BUNDLE, AWS_USE_FIPS_ENDPOINT, AWS_USE_DUALSTACK_ENDPOINT; credentials, in this order: AWS_ACCESS_KEY_ID, IRSA, EKS Pod Identity, the node's role |
| Consul | CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN, CONSUL_HTTP_TOKEN_FILE, CONSUL_HTTP_AUTH, CONSUL_HTTP_SSL, CONSUL_HTTP_SSL_VERIFY, CONSUL_CACERT, CONSUL_CLIENT_CERT, CONSUL_CLIENT_KEY, CONSUL_TLS_SERVER_NAME, CONSUL_NAMESPACE, CONSUL_PARTITION |
| etcd | ETCDCTL_ENDPOINTS, ETCDCTL_USER, ETCDCTL_PASSWORD, ETCDCTL_CACERT, ETCDCTL_CERT, ETCDCTL_KEY, ETCDCTL_INSECURE_SKIP_TLS_VERIFY |

A key that is not there is an error with the names beside it, where they may be listed; a refusal says which right is
needed. A dry-run names the stores of an --inline template; a template in a file is not read before the run. Values may
have 2 MiB, all of one rendering 8 MiB. Give a file that holds a secret --mode 0400.
`
