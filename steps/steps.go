// Package steps is the catalogue: every kind of step that slipway has, written down in one place.
package steps

import (
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/steps/apparmorcompile"
	"github.com/slipway-init/slipway/steps/apparmorload"
	"github.com/slipway-init/slipway/steps/chmod"
	"github.com/slipway-init/slipway/steps/chown"
	"github.com/slipway-init/slipway/steps/exec"
	"github.com/slipway-init/slipway/steps/gitclone"
	"github.com/slipway-init/slipway/steps/httpfetch"
	"github.com/slipway-init/slipway/steps/install"
	"github.com/slipway-init/slipway/steps/iptablesredirect"
	"github.com/slipway-init/slipway/steps/mkdir"
	"github.com/slipway-init/slipway/steps/render"
	"github.com/slipway-init/slipway/steps/s3fetch"
	"github.com/slipway-init/slipway/steps/seccompinstall"
	"github.com/slipway-init/slipway/steps/selinuxlabel"
	"github.com/slipway-init/slipway/steps/touch"
	"github.com/slipway-init/slipway/steps/vaultrender"
	"github.com/slipway-init/slipway/steps/waitfor"
	"github.com/slipway-init/slipway/steps/writefile"
)

// All returns every kind, in the order in which "slipway steps" lists them.
func All() []step.Kind {
	return []step.Kind{
		waitfor.Kind,
		mkdir.Kind,
		chown.Kind,
		chmod.Kind,
		touch.Kind,
		writefile.Kind,
		render.Kind,
		vaultrender.Kind,
		s3fetch.Kind,
		httpfetch.Kind,
		iptablesredirect.Kind,
		gitclone.Kind,
		apparmorload.Kind,
		apparmorcompile.Kind,
		seccompinstall.Kind,
		selinuxlabel.Kind,
		exec.Kind,
		install.Kind,
	}
}
