package gitclone

// long is the page of help.
const long = `Puts the files of one commit of a git repository into a directory. Neither git nor ssh need be in the image.

    slipway git-clone https://git.example.org/shop/config.git /config
    slipway git-clone https://git.example.org/shop/config.git /config --ref v1.4.2 --password-file /token/token

In a plan:

    - git-clone: {url: https://git.example.org/shop/config.git, dir: /config, ref: v1.4.2}
`
