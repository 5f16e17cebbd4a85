package vaultrender

import "github.com/slipway-init/slipway/internal/lookup"

// long is the page of help.
const long = `Logs in to a Vault or OpenBao server once, renders the template TEMPLATE with its secrets, and writes the result to DEST.

    slipway vault-render /templates/db.ctmpl /secrets/db.conf --address https://vault:8200 --role shop
    slipway vault-render --template /t/db.ctmpl=/secrets/db.conf --template /t/api.ctmpl=/secrets/api.key --role shop
    slipway vault-render --secret secret/shop --dest /secrets/shop.env --role shop
    slipway vault-render --secret secret/shop --format files --dest /secrets --role shop --require-tmpfs

In a plan:

    - vault-render:
        address: https://vault.vault:8200
        ca-file: /vault-ca/ca.crt
        role: shop
        inline: true
        template: |
          {{ with secret "secret/data/shop" -}}
          postgres://{{ .Data.data.user }}:{{ .Data.data.password }}@db:5432/shop
          {{- end }}
        dest: /secrets/database-url
        require-tmpfs: true

## Templates

Templates that were written for Vault Agent or consul-template render to the same bytes. Among their functions are secret,
secrets and pkiCert; env, mustEnv, envOrDefault and file; base64Encode, toJSON, toYAML, toTOML and those that read them;
split, join, replaceAll, regexReplaceAll, trimSpace, indent, sha256Hex, timestamp, loop, add, scratch, executeTemplate;
and writeToFile below --files-below. Not there are those that ask for Consul's catalogue or Nomad or run programs: to call
one is an error that says so. docs/vault-templates.md lists all. The functions of the step render are there too, and so are
its other stores, see below; where a name means two things, it means what consul-template means.

    {{ with secret "secret/data/shop" }}{{ .Data.data.password }}{{ end }}     KV version 2; secret/shop works too
    {{ with secret "kv1/shop" }}{{ .Data.password }}{{ end }}                  KV version 1
    {{ with secret "secret/shop?version=3" }}…{{ end }}                        an older version
    {{ with secret "database/creds/shop" }}{{ .Data.username }}{{ end }}       a dynamic secret
    {{ with secret "transit/decrypt/k" "ciphertext=…" }}…{{ end }}             with pairs: a write, and its answer
    {{ with pkiCert "pki/issue/web" "common_name=web.example.org" }}{{ .Cert }}{{ .CA }}{{ .Key }}{{ end }}
    {{ range secrets "secret/metadata/" }}{{ . }}{{ end }}                     the names below a path

**What is missing is an error**, never "<no value>": a key that a secret does not have is named with its secret and the
names of the other keys. For one that may be missing write {{ with index .Data.data "k" }}…{{ end }}.

Every secret is asked for once, however many templates name it. Those that a template is certain to want are asked for
side by side; one that stands in an {{ if }} is asked for when it is wanted.

## Files without a template

--secret repeats and takes commas; --format says what is made of the pairs:

| format | DEST |
|---|---|
| env (default) | lines of NAME=VALUE, which a shell can read: other than plain values are in single quotes |
| json, yaml | one object |
| files | a directory: a file for each key, with its value alone, as a Secret's volume has it |

A key that two secrets have is an error. A file of a key that is gone from the secret is not removed.

` + lookup.Help + `
## Login

--auth is kubernetes unless a token is given. The pod needs a token that is made for Vault, of a projected volume:

    volumes:
    - name: vault-token
      projected:
        sources:
        - serviceAccountToken: {path: token, audience: vault, expirationSeconds: 600}

mounted at /vault-token, and then --jwt-file /vault-token/token. The other methods are jwt, approle (--role-id,
--secret-id-from, --secret-id-wrapped), cert (--cert-file, --key-file), token-file, userpass (--username,
--password-from), aws, gcp and azure. The variables VAULT_ADDR, VAULT_NAMESPACE, VAULT_CACERT, VAULT_TOKEN and so on
stand for options that are not given.

## Care

Files have the mode 0400 unless --mode says otherwise, and belong to the user that slipway runs as unless --owner does;
one whose content is right is not written again. All files of the step appear, or none: they are written beside their
targets, and renamed in a row when all are complete. A kill in the middle of the row leaves whole files, some of them
old; the next run finishes it.

A secret on a disk outlives the pod. Mount an emptyDir with medium: Memory; slipway warns of a disk, and with
--require-tmpfs refuses it. No secret is in a log, a span, the report, an error or a core dump.

The token is revoked at the end, unless leases hang on it or --token-sink writes it to a file, with mode 0400. Should a
later step of the plan fail, leases and token are revoked after all. A token that was given by --token-file or VAULT_TOKEN
is never revoked.

Give the role a token_ttl of seconds, and a token_max_ttl as long as its leases: slipway renews the token for a lease that
would end with it. So a token whose login was killed, and which nobody knows, ends soon by itself.

## Runs

**A second run** takes no new database credential and no new certificate while the old ones are good for a third of
their time: the receipt, a hidden file beside the first DEST or at --receipt, has the leases, and pkiCert looks into
the files that it wrote. A lease that is no longer good is revoked. Files with the right content are left as they are,
and only their mode and owner are mended. A template with a timestamp is new each time.

**It ends.** The timeout is 2m; a server that is sealed, a standby, busy or not there is tried five more times from 250ms
on. A refusal is final.

**Exit codes**: 64 if options are wrong; 65 if a template is wrong or a key is missing, with its line; 66 if there is no secret
at a path, or no template; 69 if the server cannot be reached; 73 if a file cannot be written; 75 if the server is sealed,
busy or a standby; 77 if the login or a path is refused, with the line of policy that would help; 78 if a DEST is a
symbolic link, a disk is refused, or writeToFile leaves its folder.

**Privileges**: none beyond the right to read the templates and to write to the directories. --owner with another user
needs the capability CHOWN; a pod's securityContext.fsGroup and --mode 0440 often make it unnecessary.
`
