package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/slipway-init/slipway/internal/manifest"
	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/internal/step/opt"
)

// image is the image that manifests name unless another one is given.
const image = "ghcr.io/slipway-init/slipway"

// manifestCommand returns the command that prints a pod's part.
func (a *app) manifestCommand() *cobra.Command {
	options := manifest.Options{UID: 65532, GID: 65532}
	user := "65532:65532"
	command := &cobra.Command{
		Use:   "manifest [option]... STEP... | run FILE|-",
		Short: "Print what a pod needs to run a chain or a plan",
		Long: `Print the initContainers and volumes that a chain or a plan needs of a pod, and no more: the narrowest securityContext,
volumes for what is written, in memory for secrets, a token of the service account for Vault alone, variables that tell
traces of the pod. Steps that need different privileges get containers of their own, the fewest, and a comment says why.

    slipway manifest wait-for tcp://db:5432 then git-clone https://git.example.com/team/config.git /config/repo
    slipway manifest --as job --with podfailurepolicy,networkpolicy --image "$IMAGE" run plan.yaml

Write it before the chain that you would run. A plan that a chain cannot say stands in the variable ` + planVariable + `.
What cannot be derived is said in comments: Secrets and ConfigMaps that must exist, commands that the image must have.

With: networkpolicy (the egress), rbac (a service account with the least roles), podfailurepolicy (for --as job),
restartrules (the kubelet tries again what time may mend: from Kubernetes 1.34 on), vaultpolicy and iampolicy (as ConfigMaps,
for whoever runs Vault or AWS).

"slipway lint" checks what is printed, and what became of it.`,
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			var owner opt.Owner
			if err := owner.Set(user); err != nil {
				return usage(fmt.Errorf("--user: %w", err))
			}
			options.UID, options.GID = owner.IDs()
			if options.GID < 0 {
				options.GID = options.UID
			}
			p, err := a.planOf(cmd.Context(), args)
			if err != nil {
				return err
			}
			text, err := manifest.Make(p, options)
			if err != nil {
				return err
			}
			_, err = a.Stdout.Write(text)
			return err
		},
	}
	fs := command.Flags()
	fs.SortFlags = false
	fs.SetInterspersed(false)
	fs.StringVar(&options.As, "as", manifest.InitContainers, "form: "+strings.Join(manifest.Forms(), ", "))
	fs.StringSliceVar(&options.With, "with", nil, "what to print beside it: "+strings.Join(manifest.Extras(), ", "))
	fs.StringVar(&options.Image, "image", image, "slipway's image; name a digest")
	fs.StringVar(&options.AppImage, "app-image", "", "the application's image, for pod, deployment and job; without it a pod or job runs the plan alone")
	fs.StringVar(&options.Name, "name", "slipway", "name of the container and of all objects")
	fs.StringVar(&user, "user", user, "numeric user and group that steps without privileges run as: the application's own")
	fs.StringVar(&options.ServiceAccount, "service-account", "", "the pod's service account (default the name, where one is needed)")
	fs.StringVar(&options.Audience, "audience", "vault", "audience of the token for Vault, which the role in Vault must name")
	fs.BoolVar(&options.Single, "single", false, "one container, with all privileges that any of the steps needs")
	return command
}

// planOf returns the plan of the words that one would run: a chain, or run with a file.
func (a *app) planOf(ctx context.Context, args []string) (*plan.Plan, error) {
	if len(args) == 0 {
		return nil, usage(fmt.Errorf("no step and no plan: write a chain, or run FILE"))
	}
	if args[0] != "run" {
		return plan.ParseArgs(a.Kinds, args)
	}
	if len(args) > 2 {
		return nil, usage(fmt.Errorf("run takes one FILE, not %q", args[1:]))
	}
	name, data, err := a.readPlan(ctx, args[1:])
	if err != nil {
		return nil, err
	}
	return plan.ParseFile(a.Kinds, name, data)
}
