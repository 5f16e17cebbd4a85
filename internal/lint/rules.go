package lint

// Severity is how much a finding matters. Its text is SARIF's level.
type Severity string

// The severities.
const (
	Error   Severity = "error"   // it fails, or it gives away a secret
	Warning Severity = "warning" // it works, and should not stay so
	Note    Severity = "note"    // it may be meant
)

// Rule is one thing that is looked for.
type Rule struct {
	ID       string // in kebab-case, for --disable
	Severity Severity
	Text     string // what it looks for, one line
}

// The rules.
var (
	planFault        = Rule{"plan-fault", Error, "the chain or the plan is wrong, and nothing would run"}
	planUnseen       = Rule{"plan-unseen", Note, "the plan is in a file that the manifest does not hold, so it is not checked"}
	redirectFirst    = Rule{"redirect-before-network", Error, "steps that connect come after the redirect, when the mesh's proxy is not up yet"}
	redirectHost     = Rule{"redirect-host-network", Error, "the redirect would be the node's, because the pod has hostNetwork"}
	replaceInit      = Rule{"replace-in-init", Error, "an init container that becomes the application never ends"}
	secretInWords    = Rule{"secret-in-words", Error, "a password stands in the arguments, where everybody reads it"}
	unverified       = Rule{"unverified-tls", Warning, "a certificate is not verified"}
	unpinnedRef      = Rule{"unpinned-commit", Note, "git-clone takes whatever the branch or tag is at the time"}
	unproven         = Rule{"unproven-download", Note, "a download has no digest that it must have"}
	secretOnDisk     = Rule{"secret-on-disk", Error, "secrets are written to a volume on a disk"}
	secretUnreadable = Rule{"secret-unreadable", Warning, "the application runs as another user than the one that may read the secrets"}
	pathUnmounted    = Rule{"path-unmounted", Error, "a path that is written or read lies in no volume"}
	variableUnset    = Rule{"variable-unset", Error, "an option refers to a variable that the container does not have"}
	imageUnpinned    = Rule{"image-unpinned", Warning, "slipway's image has neither a version nor a digest"}
	imageTag         = Rule{"image-tag", Note, "slipway's image has a tag without a digest: a tag can be moved"}
	uidClash         = Rule{"uid-clash", Error, "the application runs as the user whose connections pass the mesh's proxy by"}
	capMissing       = Rule{"capability-missing", Error, "a step needs a capability that the container does not have"}
	capUnneeded      = Rule{"capability-unneeded", Warning, "the container has a capability that no step needs"}
	capNotRoot       = Rule{"capability-not-root", Error, "Kubernetes gives capabilities to root alone, and the container runs as another user"}
	podSecurity      = Rule{"pod-security", Error, "the container violates the Pod Security level"}
	podSecurityNeed  = Rule{"pod-security-needed", Error, "a step needs a privilege that the namespace's Pod Security level forbids"}
	writableRoot     = Rule{"writable-root", Warning, "the root file system is not read-only"}
	requestAbovePod  = Rule{"request-above-pod", Warning, "the init container asks for more than the application: the pod's own request grows"}
	memoryLimit      = Rule{"no-memory-limit", Note, "the container has no memory limit"}
	tokenAudience    = Rule{"token-audience", Warning, "Vault gets the API server's token, with which one can act in the cluster"}
	restartRules     = Rule{"restart-rules", Error, "restartPolicyRules that Kubernetes refuses or that never hold"}
)

// Rules returns every rule.
func Rules() []Rule {
	return []Rule{
		planFault, planUnseen, redirectFirst, redirectHost, replaceInit, secretInWords, unverified, unpinnedRef, unproven,
		secretOnDisk, secretUnreadable, pathUnmounted, variableUnset, imageUnpinned, imageTag, uidClash, capMissing, capUnneeded,
		capNotRoot, podSecurity, podSecurityNeed, writableRoot, requestAbovePod, memoryLimit, tokenAudience, restartRules,
	}
}
