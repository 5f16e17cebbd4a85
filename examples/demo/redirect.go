package main

// redirect shows the rules of a mesh's redirect. To set them takes a network namespace, which not everybody may make; to
// see them takes nothing.
var redirect = scene{
	title: "A mesh's redirect: what linkerd-init would do, rule by rule, and nothing is touched",
	args: func(*stage) ([]string, error) {
		return []string{"--dry-run", "iptables-redirect", "--preset", "linkerd"}, nil
	},
	show: func(s *stage, _ result) error {
		s.say("In a pod all of it is one transaction, for IPv4 and IPv6; nft -f reads what stands behind the bars.")
		return nil
	},
}
